"""Backbones: image encoders, one family a file, with their weights and the encoding of whole splits."""
