import pytest
import torch
from torch import Generator, Tensor

from fewbench.benchmark.training.views import Views, random_affine, random_blur, random_colours


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def coordinates(batch: int, size: int) -> Tensor:
    """Images whose first channel is the column and whose second is the row, from 0 to 1 at the centres of the outer pixels."""
    line = torch.linspace(0, 1, size)
    return torch.stack([line.expand(size, size), line[:, None].expand(size, size)]).expand(batch, 2, size, size)


def test_the_whole_image_is_a_view_of_itself() -> None:
    images = torch.rand(8, 3, 9, 9, generator=seeded())
    assert torch.allclose(random_affine(images, (1, 1), 0, 0, seeded()), images, atol=1e-5)
    assert torch.allclose(random_affine(images, (1, 1), 1, 0, seeded()), images.flip(3), atol=1e-5)


def test_a_view_is_a_crop_of_the_area_asked_for() -> None:
    size = 64
    views = random_affine(coordinates(500, size), (0.25, 0.36), 0, 0, seeded())
    column, row = views[:, 0], views[:, 1]
    assert torch.allclose(column, column[:, :1].expand_as(column), atol=1e-5)  # upright
    width = (column[:, 0, -2] - column[:, 0, 1]) / (size - 3) * (size - 1)  # inner pixels: the border repeats
    height = (row[:, -2, 0] - row[:, 1, 0]) / (size - 3) * (size - 1)
    area, aspect = width * height, width / height
    assert 0.249 < area.min() < 0.26 and 0.35 < area.max() < 0.361
    assert 0.74 < aspect.min() < 0.8 and 1.25 < aspect.max() < 1.34
    assert column.min() < 0.02 and column.max() > 0.98  # crops from the left edge and from the right


def test_turned_views_keep_their_centre_and_stay_within_the_angle() -> None:
    size = 33
    views = random_affine(coordinates(300, size), (1, 1), 0, 30, seeded())
    assert torch.allclose(views[:, :, 16, 16], torch.tensor(0.5), atol=1e-4)
    across = views[:, :, 16, 17] - views[:, :, 16, 15]
    angle = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))
    assert -30.1 < angle.min() < -27 and 27 < angle.max() < 30.1


def test_colours_are_lost_where_grey_is_asked_for() -> None:
    images = torch.rand(16, 3, 5, 5, generator=seeded())
    grey = random_colours(images, 0, 1, seeded())
    luma = 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]
    assert torch.allclose(grey, luma[:, None].expand_as(grey), atol=1e-6)


def test_jitter_changes_most_images_within_the_range_of_colours() -> None:
    images = torch.rand(400, 3, 4, 4, generator=seeded())
    changed = random_colours(images, 0.4, 0, seeded(1))
    assert 0 <= changed.min() and changed.max() <= 1
    same = torch.isclose(changed, images, atol=1e-6).flatten(1).all(dim=1)
    assert 40 < same.sum() < 120  # a fifth


def test_brightness_multiplies_a_uniform_image() -> None:
    grey = torch.full((400, 3, 4, 4), 0.5)  # which contrast and saturation leave as it is
    changed = random_colours(grey, 0.4, 0, seeded())[:, 0, 0, 0] / 0.5
    assert 0.6 <= changed.min() < 0.65 and 1.35 < changed.max() <= 1.4


def test_blur_spreads_a_point_evenly_and_leaves_the_others() -> None:
    point = torch.zeros(64, 1, 41, 41)
    point[:, :, 20, 20] = 1
    blurred = random_blur(point, 0.5, seeded())
    assert torch.allclose(blurred.sum(dim=(1, 2, 3)), torch.ones(64), atol=1e-5)
    assert torch.allclose(blurred, blurred.transpose(2, 3), atol=1e-6) and torch.allclose(blurred, blurred.flip(3), atol=1e-6)
    untouched = (blurred == point).flatten(1).all(dim=1)
    assert 20 < untouched.sum() < 44
    ratio = blurred[~untouched, 0, 20, 21] / blurred[~untouched, 0, 20, 20]  # exp(-1 / 2σ²), σ from 0.1 to 2
    assert ratio.max() < 0.8825 and ratio.min() >= 0 and ratio.std() > 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_a_function_of_the_generator_alone(channels: int) -> None:
    views = Views((0.3, 1), 0.5, 10, 0.4, 0.2, 0.5)
    images = torch.rand(6, channels, 16, 16, generator=seeded())
    state = torch.random.get_rng_state()
    first, second, other = (views(images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert first.shape == images.shape
    assert torch.equal(torch.random.get_rng_state(), state)


def test_ink_keeps_its_strength() -> None:
    images = torch.rand(6, 1, 16, 16, generator=seeded())
    moved = random_affine(images, (0.5, 1), 0, 0, seeded(1))
    assert torch.equal(Views((0.5, 1), 0, 0, jitter=0.4, grey=0.2, blur=1)(images, seeded(1)), moved)
