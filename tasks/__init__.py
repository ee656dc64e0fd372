"""Episodes and their origin: datasets, samplers, taxonomies, testbeds. This folder uses only `core`."""
