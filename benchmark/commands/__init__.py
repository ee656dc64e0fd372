"""The command line: one command of `bench` a file. Each parses, calls and prints; heavy imports are inside."""
