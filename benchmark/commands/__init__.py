"""The command line: one command of `bench` a file, in folders by subject. Heavy imports are inside of the commands."""
