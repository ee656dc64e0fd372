"""Few-shot methods, one paper a file, in folders by how they answer. `base.py` is the contract that a plug-in implements."""
