"""Datasets of images that another library or the user's program counts: arrays, PyTorch, torchvision, Hugging Face."""
