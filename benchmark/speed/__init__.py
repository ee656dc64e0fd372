"""How fast this machine encodes images and evaluates methods, next to what its processor can do."""
