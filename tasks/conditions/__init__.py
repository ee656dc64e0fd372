"""Episodes as they are in life: queries that are not balanced, labels that are wrong, images without any, labels on request."""
