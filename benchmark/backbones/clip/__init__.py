"""Backbones with a text tower beside the image tower: CLIP and its kin."""
