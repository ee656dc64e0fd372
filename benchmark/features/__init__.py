"""Features of images: encoded once, kept, exported and imported."""
