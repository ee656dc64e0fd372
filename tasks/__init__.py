"""Episodes and where they come from: datasets, samplers, random streams. Knows nothing of methods or the engine."""
