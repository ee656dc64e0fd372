"""Changed copies of images: pseudo-queries, random crops and flips."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from fewbench.methods.parts.augmentation import NUMBERS, pseudo_queries, random_crop, random_flip
from fewbench.methods.parts.random_numbers import uniform


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


SEEDS = torch.tensor([3, 2**62 + 1])


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 5, 3, 16, 12, generator=torch.Generator().manual_seed(0))


def one_by_one(images: Tensor, seeds: Tensor, copy: int, flip: bool) -> Tensor:
    """The definition, an image and a pixel at a time."""
    changed = images.clone()
    for e, i in torch.cartesian_prod(torch.arange(len(images)), torch.arange(images.shape[1])).tolist():
        u = uniform(seeds[e : e + 1], copy, (i + 1) * NUMBERS)[0, -NUMBERS:].tolist()
        if u[0] >= 0.9:
            continue
        x = images[e, i].flip(2) if flip and u[1] < 0.5 else images[e, i]
        x = x + u[2] - 0.5
        x = x.mean(dim=0) + 2 * u[3] * (x - x.mean(dim=0))
        # The mean is that of the moved image: what comes before does not change it but by the repeated border.
        height, width = x.shape[1:]
        down, right = int(u[5] * 5) - 2, int(u[6] * 5) - 2  # an eighth of 16 is 2, and so is one of 12 when rounded
        rows = [min(max(row - down, 0), height - 1) for row in range(height)]
        columns = [min(max(column - right, 0), width - 1) for column in range(width)]
        x = x[:, rows][:, :, columns]
        changed[e, i] = x.mean() + (u[4] + 0.5) * (x - x.mean())
    return changed


@pytest.mark.parametrize("flip", [True, False])
def test_copies_are_those_of_the_definition(images: Tensor, flip: bool):
    for copy in range(3):
        torch.testing.assert_close(pseudo_queries(images, SEEDS, copy, flip), one_by_one(images, SEEDS, copy, flip))


def test_the_images_are_left_as_they_are(images: Tensor):
    before = images.clone()
    assert not torch.equal(pseudo_queries(images, SEEDS, 0, True), images)
    assert torch.equal(images, before)


def test_a_copy_depends_on_its_seed_number_and_place_alone(images: Tensor):
    copies = pseudo_queries(images, SEEDS, 4, True)
    assert not torch.equal(copies, pseudo_queries(images, SEEDS, 5, True))
    torch.testing.assert_close(pseudo_queries(images[:, :3], SEEDS, 4, True), copies[:, :3])
    torch.testing.assert_close(pseudo_queries(images[1:], SEEDS[1:], 4, True), copies[1:])


def test_a_tenth_is_left_as_it_is_and_half_of_the_others_are_mirrored():
    ramp = torch.linspace(0, 1, 16).expand(1, 2000, 1, 16, 16)  # grows to the right; flipped it falls
    copies = pseudo_queries(ramp, SEEDS[:1], 0, True)[0]
    same = (copies - ramp[0]).abs().amax(dim=(1, 2, 3)) == 0
    mirrored = copies[:, 0, 0, 0] > copies[:, 0, 0, -1]
    assert same.float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert mirrored.float().mean().item() == pytest.approx(0.45, abs=0.05)
    unflipped = pseudo_queries(ramp, SEEDS[:1], 0, False)[0]
    assert (unflipped[:, 0, 0, 0] <= unflipped[:, 0, 0, -1]).all()
