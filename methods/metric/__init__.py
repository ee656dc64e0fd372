"""Queries are compared with the classes' examples or means: metric learning."""
