"""Probing: how well the attributes of images can be read linearly off each layer of a network."""
