"""The network itself adapts to each episode: fine-tuning, MAML and its kin."""
