from dataclasses import replace

import numpy as np
import pytest

from fewbench.core.errors import UsageError
from fewbench.tasks.corrupted_split import CorruptedImages, corrupted
from fewbench.tasks.corrupting import corrupt
from fewbench.tasks.corruptions import Corruption
from fewbench.tasks.datasets.split import Split

NOISE = Corruption("noise", 3)


@pytest.fixture
def clean() -> Split:
    images = np.random.default_rng(0).integers(0, 256, size=(12, 16, 16, 3), dtype=np.uint8)
    return Split("made", "test", images, np.array([0, 5, 12]), ("a", "b"), ("A", "B"), "f" * 64)


def test_images_are_those_of_their_rows_however_they_are_read(clean: Split):
    images = corrupted(clean, NOISE).images
    assert images.shape == (12, 16, 16, 3) and len(images) == 12 and images.nbytes == 12 * 16 * 16 * 3
    whole = images[:]
    np.testing.assert_array_equal(whole, corrupt(np.array(clean.images[:]), np.arange(12), NOISE))
    np.testing.assert_array_equal(images[7], whole[7])
    np.testing.assert_array_equal(images[-2], whole[10])
    np.testing.assert_array_equal(images[4:20:3], whole[4::3])
    np.testing.assert_array_equal(images[np.array([9, 0, 9])], whole[[9, 0, 9]])
    assert images[5:5].shape == (0, 16, 16, 3)
    assert (whole != clean.images).mean() > 0.9


def test_only_the_rows_asked_for_are_read():
    class Counted:
        shape, nbytes, read = (1_000_000, 16, 16, 3), 768_000_000, []

        def __len__(self):
            return self.shape[0]

        def __getitem__(self, rows):
            self.read.extend(rows.tolist())
            return np.zeros((len(rows), 16, 16, 3), np.uint8)

    stored = Counted()
    assert CorruptedImages(stored, NOISE)[[3, 999_999]].shape == (2, 16, 16, 3)
    assert stored.read == [3, 999_999]


def test_the_rest_of_the_split_stays_but_the_fingerprint(clean: Split):
    split = corrupted(clean, NOISE)
    assert replace(split, images=clean.images, fingerprint=clean.fingerprint, corruption=None) == clean
    assert split.corruption == {"name": "noise", "severity": 3, "version": 1, "clean_fingerprint": "f" * 64}
    known = "67ad05cd3108f7ab206412dcb2616ad78df8e136b1d397d142ca78f55b9bb8d1"  # another one would make old records new runs
    assert split.fingerprint == known
    others = [corrupted(clean, Corruption("noise", 4)), corrupted(clean, Corruption("blur", 3))]
    others.append(corrupted(replace(clean, fingerprint="0" * 64), NOISE))
    prints = [clean.fingerprint, split.fingerprint, *(other.fingerprint for other in others)]
    assert len(set(prints)) == 5
    assert all(len(one) == 64 and set(one) <= set("0123456789abcdef") for one in prints)


def test_without_a_corruption_the_split_is_itself(clean: Split):
    assert corrupted(clean, None) is clean


def test_colour_cannot_be_taken_from_images_that_have_none(clean: Split):
    drawings = replace(clean, images=np.array(clean.images[:])[..., :1])
    with pytest.raises(UsageError, match="the images of made have no colour"):
        corrupted(drawings, Corruption("grey", 1))
    assert corrupted(drawings, NOISE).images[0].shape == (16, 16, 1)
