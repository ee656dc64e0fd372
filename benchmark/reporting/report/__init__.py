"""One page about the answers of a few runs."""
