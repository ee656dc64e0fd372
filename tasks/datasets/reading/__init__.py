"""Reads archives, folders, arrays and pictures."""
