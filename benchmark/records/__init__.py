"""Records of runs, their statistics and what identifies a run."""
