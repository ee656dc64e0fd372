"""What every folder may use: errors, files, options, progress, tables. Knows nothing of the others."""
