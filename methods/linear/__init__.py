"""A linear classifier is fitted to the support features of each episode."""
