"""Weights: files, names, descriptions, checkpoints."""
