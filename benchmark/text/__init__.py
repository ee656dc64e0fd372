"""Class names, prompts and text features."""
