from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"grüne Äpfel": (40, 180, 60), "blue plums": (50, 60, 190), "rote Rüben": (190, 40, 70)}


def photo(colour: tuple[int, int, int], seed: int) -> np.ndarray:
    """A noisy photo of a colour, uint8 [40, 52, 3]."""
    noise = np.random.default_rng(seed).normal(0, 40, (40, 52, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three classes with eight photos each."""
    root = tmp_path / "my photos"
    for number, (name, colour) in enumerate(COLOURS.items()):
        (root / name).mkdir(parents=True)
        for seed in range(8):
            Image.fromarray(photo(colour, 100 * number + seed)).save(root / name / f"{seed}.png")
    return root
