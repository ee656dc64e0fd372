"""Pipelines: pretraining, meta-training and evaluation from one file, each stage done once."""
