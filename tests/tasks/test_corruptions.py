import hashlib
import itertools

import numpy as np
import pytest
import torch

from fewbench.core.errors import UsageError
from fewbench.tasks.corrupting import corrupt
from fewbench.tasks.corruptions import SEVERITIES, STRENGTHS, Corruption

EVERY = pytest.mark.parametrize("name", STRENGTHS)


def images_of(count: int = 6, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
    """Flat patches under a little noise, uint8 [count, height, width, channels]."""
    random = np.random.default_rng(height + channels)
    patches = random.uniform(0, 255, size=(count, -(-height // 8), -(-width // 8), channels))
    whole = patches.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    return (whole + random.normal(scale=10, size=whole.shape)).clip(0, 255).astype(np.uint8)


def damage(images: np.ndarray, name: str) -> np.ndarray:
    """Mean squared error of each image at each severity, [5, n]."""
    rows = np.arange(len(images))
    return np.array(
        [
            ((corrupt(images, rows, Corruption(name, severity)).astype(float) - images) ** 2).mean(axis=(1, 2, 3))
            for severity in SEVERITIES
        ]
    )


@EVERY
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 3), (84, 3)])
def test_each_severity_damages_every_image_more_than_the_one_below(name, size, channels):
    found = damage(images_of(3, size, size, channels), name)
    if name == "grey" and channels == 1:
        assert (found == 0).all()
        return
    rising = np.diff(found, axis=0, prepend=0)
    # Which quality of JPEG is nearer to an image depends on the image: on the mean it is the higher one.
    assert (rising.mean(axis=1) > 0).all() if name == "jpeg" else (rising > 0).all()


@EVERY
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (84, 84, 3), (40, 96, 3)])
def test_shape_and_type_stay(name, shape):
    images = images_of(2, *shape)
    found = corrupt(images, np.array([5, 9]), Corruption(name, 3))
    assert found.dtype == np.uint8 and found.shape == images.shape


@EVERY
def test_an_image_does_not_depend_on_those_beside_it_nor_on_global_state(name):
    images, rows, corruption = images_of(), np.array([7, 3, 2**33, 0, 12, 3]), Corruption(name, 4)
    together = corrupt(images, rows, corruption)
    order = [4, 0, 5, 2, 1, 3]
    torch.manual_seed(1)
    np.testing.assert_array_equal(corrupt(images[order], rows[order], corruption), together[order])
    torch.manual_seed(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        alone = [corrupt(images[i : i + 1], rows[i : i + 1], corruption)[0] for i in range(len(images))]
    np.testing.assert_array_equal(np.stack(alone), together)


@pytest.mark.parametrize(("name", "random"), [(name, name in ("noise", "occlusion")) for name in STRENGTHS])
def test_what_is_random_depends_on_the_row_and_nothing_else_does(name, random):
    image = images_of(1).repeat(2, axis=0)
    first, second = corrupt(image, np.array([0, 1]), Corruption(name, 5))
    assert (first != second).any() == random


def test_noise_has_the_deviation_of_its_severity():
    images = np.full((20, 84, 84, 3), 128, np.uint8)
    for severity, deviation in zip((1, 2, 3), (0.08, 0.12, 0.18), strict=True):  # above, noise is cut off at black and white
        noise = corrupt(images, np.arange(20), Corruption("noise", severity)).astype(float) - 128
        assert abs(noise.mean()) < 0.1
        assert noise.std() == pytest.approx(255 * deviation, rel=0.01)


def test_a_square_hides_its_share_and_lies_within_the_next_larger_one():
    images = images_of(30) // 2  # nothing is mid-grey
    hidden = [(corrupt(images, np.arange(30), Corruption("occlusion", s)) != images).any(axis=3) for s in SEVERITIES]
    for mask, share in zip(hidden, STRENGTHS["occlusion"].small, strict=True):
        assert mask.mean() == pytest.approx(share, abs=0.03)
    for smaller, larger in itertools.pairwise(hidden):
        outside = smaller & ~larger
        assert outside.mean() < 0.01  # but for rounding to whole pixels
    corners = {tuple(np.argwhere(mask)[0]) for mask in hidden[2]}
    assert len(corners) > 20


def test_grey_takes_all_colour_away_at_last():
    found = corrupt(images_of(), np.arange(6), Corruption("grey", 5))
    assert (found.max(axis=3) - found.min(axis=3) <= 1).all()


@pytest.mark.parametrize("axis", [1, 2])
def test_blur_spreads_a_line_by_the_scaled_deviation(axis):
    image = np.zeros((1, 112, 112, 1), np.uint8)
    image[(0, 56) if axis == 1 else (0, slice(None), 56)] = 255
    weights = corrupt(image, np.zeros(1, int), Corruption("blur", 5)).astype(float).sum(axis=(0, 3 - axis, 3))
    places = np.arange(112) - 56
    # 6 pixels of 224 are 3 of 112; tails that round to zero take a little of it.
    assert (weights @ places**2 / weights.sum()) ** 0.5 == pytest.approx(3, rel=0.05)
    assert Corruption("blur", 5).strength(112, 130) == pytest.approx(3) and Corruption("blur", 5).strength(90, 48) == 1.5
    assert Corruption("noise", 5).strength(64, 64) == 0.10 and Corruption("noise", 5).strength(65, 65) == 0.38


def test_contrast_keeps_its_share_of_the_deviation():
    images = images_of(4, 84, 84)
    found = corrupt(images, np.arange(4), Corruption("contrast", 2))
    np.testing.assert_allclose(found.std(axis=(1, 2)), 0.3 * images.std(axis=(1, 2)), rtol=0.05)


def test_random_corruptions_are_frozen():
    """Integers alone come into these; the others go through libraries that may round otherwise."""
    images = np.tile(np.arange(32, dtype=np.uint8)[:, None, None], (2, 1, 32, 3))
    digest = hashlib.sha256(corrupt(images, np.array([1, 1000]), Corruption("occlusion", 3)).tobytes()).hexdigest()
    assert digest == "98c04b58e0a030504e7d3ab83cd81c6a5b553fc4ea24103962177667552fdd70"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("nois", "did you mean 'noise'[?]"),
        ("JPEG", "did you mean 'jpeg'[?]"),
        ("fog", "known: blur, contrast, grey, jpeg, noise, occlusion"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name, advice):
    with pytest.raises(UsageError, match=f"^--corruption {name}: unknown; {advice}$"):
        Corruption(name, 1)


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_severities_are_from_one_to_five(severity):
    with pytest.raises(UsageError, match=rf"^--severity {severity}: from 1 to 5$"):
        Corruption("noise", severity)


def test_an_image_too_small_to_be_blurred_is_told():
    with pytest.raises(UsageError, match="too small"):
        corrupt(np.zeros((1, 1, 1, 3), np.uint8), np.zeros(1, int), Corruption("blur", 5))
