"""Many runs at once: every run of a grid, and parts of the episodes of each, as tasks of Ray."""
