import numpy as np
import pytest

from fewbench.tasks.datasets.split import Split
from fewbench.tasks.viewed_split import ASPECT, SMALLEST, box_of, viewed


def split_of(images: np.ndarray) -> Split:
    return Split("some", "test", images, np.array([0, len(images)]), ("a",), ("a",), "f" * 64)


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 20, 30, 3), dtype=np.uint8)


def test_view_0_is_the_split_itself_and_others_have_their_own_fingerprint():
    split = split_of(IMAGES)
    assert viewed(split, 0) is split
    fingerprints = {viewed(split, view).fingerprint for view in range(4)}
    assert len(fingerprints) == 4
    known = "b016612bb097bb09d9fe9ee076db03436bc7062944cd09519db9e1f708df09dd"  # another one would make old records new runs
    assert viewed(split, 2).fingerprint == known


def test_a_view_depends_on_image_row_and_number_alone():
    images = viewed(split_of(IMAGES), 2).images
    assert images.shape == IMAGES.shape and len(images) == 6 and images.nbytes == IMAGES.nbytes
    together = images[np.array([4, 1])]
    np.testing.assert_array_equal(together, np.stack([images[4], images[1]]))
    np.testing.assert_array_equal(images[1:3], np.stack([images[1], images[2]]))
    assert images[2:2].shape == (0, 20, 30, 3)
    assert (viewed(split_of(IMAGES), 3).images[1] != images[1]).any()


def test_crops_are_inside_and_of_the_right_sizes():
    boxes = [box_of(view, row, 20, 30) for view in range(1, 6) for row in range(200)]
    left, top, right, bottom = np.array([box for box, _ in boxes]).T
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= 30 and bottom.max() <= 20
    areas = (right - left) * (bottom - top) / 600
    assert areas.min() == pytest.approx(SMALLEST, abs=0.01) and areas.max() == pytest.approx(1, abs=0.01)
    aspects = (right - left) / (bottom - top) / 1.5
    assert aspects.max() <= ASPECT + 1e-9 and aspects.min() >= 1 / ASPECT - 1e-9 and aspects.std() > 0.05
    assert np.mean([mirrored for _, mirrored in boxes]) == pytest.approx(0.5, abs=0.05)


def test_a_view_is_the_crop_resized_and_only_colour_is_mirrored():
    ramp = np.broadcast_to(np.arange(0, 240, 8, dtype=np.uint8)[None, None, :, None], (40, 20, 30, 1))
    grey, colour = viewed(split_of(ramp), 1).images, viewed(split_of(ramp.repeat(3, axis=3)), 1).images
    for row in range(40):
        (left, _, right, _), mirrored = box_of(1, row, 20, 30)
        rising = grey[row][0, :, 0].astype(int)
        assert (np.diff(rising) >= 0).all()
        middles = left + (right - left) * (np.arange(30) + 0.5) / 30
        np.testing.assert_allclose(rising[2:-2], (8 * (middles - 0.5))[2:-2], atol=1.5)
        assert (np.diff(colour[row][0, :, 0].astype(int)) <= 0).all() == mirrored
