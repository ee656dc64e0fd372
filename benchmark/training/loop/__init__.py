"""The training loop, resumed bit for bit."""
