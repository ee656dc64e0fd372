"""Datasets of several attributes: which combinations a split has, and what their images show."""

from collections import Counter
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.rendered.combined import Combined
from fewbench.tasks.datasets.rendered.digit_on_image import DigitOnImage
from fewbench.tasks.datasets.rendered.handwritten import drawings, enlarged, laid_on
from fewbench.tasks.datasets.rendered.multi_digits import MultiDigits
from fewbench.tasks.datasets.rendered.navon import LETTERS, Navon, glyph, pair
from fewbench.tasks.datasets.rendered.rand_bit import RandBit
from fewbench.tasks.datasets.split import SPLITS, Split
from fewbench.tasks.datasets.trifeature import VALUES, Trifeature
from fewbench.tasks.datasets.trifeature_rendering import render

pytest.importorskip("sklearn")
ALL = [Navon(), MultiDigits(), MultiDigits(scale=3), DigitOnImage(), RandBit(), Trifeature(label="texture")]


def opened(dataset: Combined, split: str) -> Split:
    """A split without images: attributes need none."""
    identifiers, names = zip(*dataset.class_list(split), strict=True)
    counts = dataset.contents(split, None, SILENT).counts
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Split(dataset.name, split, np.empty((sum(counts), 1, 1, 1), np.uint8), offsets, identifiers, names, "")


@pytest.mark.parametrize("dataset", [Navon(), MultiDigits()], ids=lambda one: one.name)
def test_pairs_are_each_in_one_split_and_their_values_equally_frequent(dataset: Combined):
    of_splits = [[one.values for one in dataset.combinations(split)] for split in SPLITS]
    values = {value for one in of_splits for values in one for value in values}
    assert sorted(pair for one in of_splits for pair in one) == sorted(product(sorted(values), repeat=2))
    for pairs in of_splits:
        for place in (0, 1):
            assert set(Counter(values[place] for values in pairs).values()) == {len(pairs) // len(values)}


@pytest.mark.parametrize("dataset", ALL, ids=lambda one: f"{one.name} {one.changed_parameters()}")
def test_rows_go_class_by_class_and_attributes_are_those_of_the_images(dataset: Combined):
    contents = dataset.contents("val", None, SILENT)
    attributes = dataset.attributes(opened(dataset, "val"))
    assert [*attributes] == [*dataset.attribute_names]
    assert {len(values) for values in attributes.values()} == {sum(contents.counts)} == {len(contents.sources)}
    rows = [one for one in dataset.drawn("val") for _ in range(one.images)]
    assert [*zip(*attributes.values(), strict=True)] == [one.values for one in rows]
    labels = np.repeat(contents.class_ids, contents.counts)
    assert [source.partition(" image ")[0] for source in contents.sources] == [*labels]
    if dataset.label != "class":
        assert [*attributes[dataset.label]] == [*labels]


@pytest.mark.parametrize("dataset", ALL, ids=lambda one: f"{one.name} {one.changed_parameters()}")
def test_an_image_does_not_depend_on_how_many_are_drawn_and_no_two_are_equal(dataset: Combined):
    some = dataset.drawn("test")[:3]
    images = [dataset.render("test", one) for one in some]
    assert all(one.dtype == np.uint8 and one.shape[1:] == dataset.image_shape for one in images)
    assert len({image.tobytes() for block in images for image in block}) == sum(one.images for one in some)
    for one, block in zip(some, images, strict=True):
        np.testing.assert_array_equal(dataset.render("test", one), block)


def test_digits_of_splits_are_other_drawings_of_the_1797():
    of_splits = [[drawing.tobytes() for mine in drawings(split) for drawing in mine] for split in SPLITS]
    assert sum(map(len, of_splits)) == 1797
    assert all(not {*one} & {*other} for one, other in combinations(of_splits, 2))
    assert all(mine.max() == 255 and mine.min() == 0 and mine.shape[1:] == (8, 8) for mine in drawings("train"))


def test_ink_covers_what_is_below_as_far_as_it_is_dark():
    images = np.full((1, 3, 4, 3), 100, np.uint8)
    laid_on(images, np.array([[[255, 0], [51, 0]]], np.uint8), np.array([1]), np.array([2]))
    expected = np.full((3, 4), 100)
    expected[1, 2], expected[2, 2] = 255, (100 * 204 + 255 * 51) // 255
    np.testing.assert_array_equal(images[0], expected[..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(enlarged(np.array([[[1, 2]]]), 2), [[[1, 1, 2, 2], [1, 1, 2, 2]]])


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_first_digit_is_as_large_as_asked_for_and_in_the_left_half(scale: int):
    dataset = MultiDigits(scale=scale)
    (one,) = [one for one in dataset.combinations("train") if one.values == ("0", "1")]
    bright = dataset.render("train", one)[..., 0] > 100
    heights = [np.ptp(np.nonzero(image[:, :24].any(axis=1))[0]) + 1 for image in bright]
    assert 6 * scale <= min(heights) and max(heights) <= 8 * scale
    assert all(np.ptp(np.nonzero(image[:, 24:].any(axis=1))[0]) + 1 <= 8 for image in bright)


def test_a_large_letter_is_made_of_small_ones():
    found = pair("T", "L")
    assert found.shape == (29, 29)
    np.testing.assert_array_equal(found[:5, :5], glyph("L"))
    np.testing.assert_array_equal(found[6:11, 12:17], glyph("L"))
    assert not found[6:11, :5].any() and not found[5].any()
    assert found.sum() == glyph("T").sum() * glyph("L").sum()


def test_letters_are_five_by_five_and_all_different():
    assert {glyph(letter).shape for letter in LETTERS} == {(5, 5)}
    assert len({glyph(letter).tobytes() for letter in LETTERS}) == 20


@pytest.mark.parametrize(("bits", "levels"), [(0, (1, 1)), (3, (8, 1)), (4, (16, 1)), (6, (16, 4)), (8, (16, 16))])
def test_bits_are_levels_of_the_channels_beside_the_digit(bits: int, levels: tuple[int, int]):
    dataset = RandBit(bits=bits)
    drawn = dataset.combinations("train")[:400]
    images = np.concatenate([dataset.render("train", one) for one in drawn])
    for channel, count in enumerate(levels, start=1):
        flat = images[..., channel].reshape(400, -1)
        assert (flat == flat[:, :1]).all()
        assert {*np.unique(flat)} == {17 * level for level in range(count)}
    assert [int(one.values[1]) for one in drawn] == [*(images[:, 0, 0, 1] // 17)]


def test_a_digit_lies_on_the_image_of_its_class():
    plain, dataset = DigitOnImage(instances=0), DigitOnImage(instances=1)
    first = dataset.combinations("train")[3]
    assert first.values == (*Trifeature().combinations("train")[0].values, "3")
    shape, texture, colour, _ = first.values
    below = np.concatenate([render(shape, texture, colour, place, place + 1) for place in (3, 13)])
    np.testing.assert_array_equal(plain.render("train", first), below)
    covered = dataset.render("train", first) != below
    assert all(30 < pixels <= 256 for pixels in covered.any(axis=3).sum(axis=(1, 2)))
    values = [one.values for one in dataset.combinations("val")]
    assert set(Counter(values).values()) == {1} and len(values) == 1600


@pytest.mark.parametrize("dataset", [Navon(), MultiDigits(), DigitOnImage(), RandBit()], ids=lambda dataset: dataset.name)
def test_val_classes_have_the_images_that_a_pretraining_validates_on(dataset: Combined):
    images = Counter[tuple[str, str]]()
    for one in dataset.combinations("val"):
        images[dataset.class_of(one.values)] += one.images
    assert len(images) >= 5 and min(images.values()) >= 16


@pytest.mark.parametrize(("correlation", "matching"), [(0.0, 60), (0.5, 330), (0.9, 546), (1.0, 600)])
@pytest.mark.parametrize(("label", "other"), [("shape", "colour"), ("texture", "shape")])
def test_labels_match_the_correlated_attribute_as_often_as_asked_for(label: str, other: str, correlation: float, matching: int):
    dataset = Trifeature(label=label, correlated=other, correlation=correlation)  # type: ignore[arg-type]
    attributes = dataset.attributes(opened(dataset, "train"))
    counts = Counter(zip(attributes[label], attributes[other], strict=True))
    partners = dict(zip(VALUES[label], VALUES[other], strict=True))
    assert {counts[value, partner] for value, partner in partners.items()} == {matching}
    others = [count for pair, count in counts.items() if partners[pair[0]] != pair[1]]
    assert all(abs(count - (600 - matching) / 9) < 1 for count in others) and len(others) == (90 if matching < 600 else 0)
    assert Counter(attributes[label]) == dict.fromkeys(VALUES[label], 600)
    known = {one.values for one in Trifeature().combinations("train")}
    assert {*zip(*attributes.values(), strict=True)} <= known


def test_images_of_a_label_are_all_different_and_val_is_not_correlated():
    dataset = Trifeature(label="shape", correlated="texture", correlation=1)
    images = [image.tobytes() for one in dataset.drawn("train")[:12] for image in dataset.render("train", one)]
    assert len({*images}) == len(images) > 600
    attributes = dataset.attributes(opened(dataset, "val"))
    assert Counter(zip(attributes["shape"], attributes["colour"], strict=True)) == Counter(
        (one.values[0], one.values[2]) for one in Trifeature().combinations("val") for _ in range(40)
    )


def test_older_names_of_trifeature_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path))
    assert Trifeature().recorded_parameters() == {}
    assert Trifeature().folder().name == "trifeature-1"
    changed = Trifeature(label="shape", correlated="texture", correlation=0.5)
    assert changed.recorded_parameters() == {"label": "shape", "correlated": "texture", "correlation": 0.5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trifeature(label="size"), "trifeature: label=size: class, shape, texture, colour"),
        (lambda: Trifeature(correlation=0.5), "correlation=0.5: of what"),
        (lambda: Trifeature(correlated="shape"), "correlated=shape: with what"),
        (lambda: Trifeature(label="shape", correlated="shape"), "correlated=shape: with what"),
        (lambda: Navon(label="shape"), "navon: label=shape: class, large, small"),
        (lambda: RandBit(bits=9), "RandBit: bits=9"),
        (lambda: MultiDigits(scale=0), "MultiDigits: scale=0"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(make, message: str):
    with pytest.raises(UsageError, match=message):
        make()
