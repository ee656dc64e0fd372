import pytest
import torch
from torch import Generator, Tensor

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.training.augmentation import Augmentation

PREPROCESS = Preprocess(3, 12, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def stored() -> Tensor:
    return torch.randint(0, 256, (300, 12, 12, 3), dtype=torch.uint8, generator=seeded(7))


def test_without_options_images_are_preprocessed(stored: Tensor):
    assert torch.equal(Augmentation(0, False)(stored, PREPROCESS, seeded()), PREPROCESS(stored))


def test_half_of_the_images_are_mirrored(stored: Tensor):
    images, plain = Augmentation(0, True)(stored, PREPROCESS, seeded()), PREPROCESS(stored)
    mirrored = (images == plain.flip(3)).flatten(1).all(dim=1)
    assert torch.equal(images[~mirrored], plain[~mirrored])
    assert 120 < mirrored.sum() < 180


def test_a_shifted_image_is_found_in_the_original(stored: Tensor):
    images, plain = Augmentation(2, False)(stored, PREPROCESS, seeded()), PREPROCESS(stored)
    centre = images[:, :, 4:8, 4:8]
    at = [
        (centre == plain[:, :, 4 + down : 8 + down, 4 + right : 8 + right]).flatten(1).all(dim=1)
        for down in range(-2, 3)
        for right in range(-2, 3)
    ]
    found = torch.stack(at).sum(dim=1)
    assert found.sum() == 300 and found.min() > 2  # each of the 25 shifts


def test_jitter_multiplies_brightness_before_the_mean_is_taken_off():
    grey = torch.full((400, 12, 12, 3), 100, dtype=torch.uint8)  # contrast and saturation leave it alone
    images = Augmentation(0, False, jitter=0.4)(grey, PREPROCESS, seeded())
    mean, std = (torch.tensor(value)[:, None, None] for value in (PREPROCESS.mean, PREPROCESS.std))
    factors = (images * std + mean)[:, 0, 0, 0] / (100 / 255)
    assert 0.6 <= factors.min() < 0.62 and 1.38 < factors.max() <= 1.4001
    assert torch.isclose(factors, torch.tensor(1.0), atol=1e-4).sum() < 5  # all are changed, not most


def test_a_crop_is_scaled_to_the_whole_and_colours_change_beside_it(stored: Tensor):
    ramp = torch.linspace(0, 255, 12).to(torch.uint8)[None, None, :, None].expand(300, 12, 12, 3)
    plain = Preprocess(3, 12, (0.0,) * 3, (1.0,) * 3)
    images = Augmentation(0, False, smallest_area=0.05)(ramp, plain, seeded())
    reach = images[:, 0, 0, -1] - images[:, 0, 0, 0]  # share of the width that is left
    assert reach.min() < 0.3 and reach.max() > 0.9 and images.shape == (300, 3, 12, 12)
    both = Augmentation(0, True, smallest_area=0.05, jitter=0.4)(stored, PREPROCESS, seeded())
    assert torch.equal(both, Augmentation(0, True, smallest_area=0.05, jitter=0.4)(stored, PREPROCESS, seeded()))
    assert not torch.equal(both, Augmentation(0, True, smallest_area=0.05)(stored, PREPROCESS, seeded()))
