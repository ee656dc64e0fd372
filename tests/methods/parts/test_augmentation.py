from __future__ import annotations

import torch
from torch import Generator

from fewbench.methods.parts.augmentation import random_crop, random_flip


def test_a_crop_is_a_shift_with_the_border_repeated():
    image = torch.arange(36.0).view(1, 1, 6, 6)
    shifts = set()
    for seed in range(60):
        crop = random_crop(image, 1, Generator().manual_seed(seed))[0, 0]
        found = [
            (down, right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if torch.equal(crop, image[0, 0][(torch.arange(6) + down).clamp(0, 5)][:, (torch.arange(6) + right).clamp(0, 5)])
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) == 9


def test_a_flip_mirrors_about_half_of_the_images():
    images = torch.randn(200, 1, 2, 3, generator=Generator().manual_seed(0))
    flipped = random_flip(images, Generator().manual_seed(1))
    same = (flipped == images).flatten(1).all(dim=1)
    assert torch.equal(flipped[~same], images[~same].flip(3))
    assert 70 < same.sum() < 130


def test_the_generator_decides_and_the_global_one_is_left_alone():
    images = torch.randn(8, 3, 8, 8, generator=Generator().manual_seed(0))
    before = torch.get_rng_state()
    first, again, other = (random_flip(random_crop(images, 2, g), g) for g in map(Generator().manual_seed, (1, 1, 2)))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
