"""Episodes as they are in life: queries that are not balanced, and labels that are wrong."""
