"""Datasets, one a file, and the common store they prepare into."""
