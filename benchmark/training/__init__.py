"""Training: pretraining recipes and their loop."""
