"""Commands that prepare what runs take: datasets, features, distances, testbeds."""
