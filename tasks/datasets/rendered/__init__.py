"""Datasets that this package renders, and whose images combine several attributes: for readouts of attributes (bench probe)."""
