"""Episodes as they are in life: queries that are not balanced, labels that are wrong, and images without any."""
