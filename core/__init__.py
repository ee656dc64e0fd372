"""The ground floor, which every other folder uses: errors, files, the cache, options, progress, tables."""
