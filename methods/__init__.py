"""Few-shot methods, one paper a file. `base.py` is the contract that a plug-in implements."""
