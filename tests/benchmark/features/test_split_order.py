import csv
import io
from collections.abc import Sequence

import numpy as np
import pytest

from fewbench.benchmark.features.exchange import FeatureContents
from fewbench.benchmark.features.export import COLUMNS, template
from fewbench.benchmark.features.importing import in_split_order
from fewbench.core.errors import UserError
from fewbench.tasks.datasets.split import Split
from fewbench.tasks.datasets.store import sources_of
from fewbench.tasks.datasets.trifeature import Trifeature

COUNT = 5
SOURCES = tuple(f"{number}.png" for number in range(COUNT))
FEATURES = np.arange(COUNT * 3, dtype=np.float32).reshape(COUNT, 3)
MIXED = np.array([3, 0, 4, 1, 2])  # the image that each row of a file is of


@pytest.fixture
def split() -> Split:
    return Split(
        dataset="things",
        name="val",
        images=np.zeros((COUNT, 2, 2, 3), np.uint8),
        offsets=np.array([0, 2, 5]),
        class_ids=("cat", "dog"),
        class_names=("a cat", "a dog"),
        fingerprint="f" * 64,
    )


def contents(entries=None, **arrays) -> FeatureContents:
    return FeatureContents({"features": FEATURES, **arrays}, {} if entries is None else entries)


def named(order: Sequence[int] = tuple(MIXED)) -> np.ndarray:
    return np.array([SOURCES[image] for image in order], dtype=object)


def test_rows_named_by_their_source_are_put_into_order(split):
    found = in_split_order(contents(features=FEATURES[MIXED], source=named()), split, SOURCES, "file")
    np.testing.assert_array_equal(found, FEATURES)


def test_numbered_rows_are_put_into_order_where_the_fingerprint_is_right(split):
    given = contents({"fingerprint": split.fingerprint}, features=FEATURES[MIXED], row=MIXED)
    np.testing.assert_array_equal(in_split_order(given, split, (), "file"), FEATURES)


def test_with_the_fingerprint_alone_the_order_is_the_splits(split):
    found = in_split_order(contents({"fingerprint": split.fingerprint}), split, SOURCES, "file")
    np.testing.assert_array_equal(found, FEATURES)


def test_sixteen_bits_stay_and_all_else_becomes_float32(split):
    for dtype, stored in ((np.float16, np.float16), (np.float32, np.float32), (np.float64, np.float32)):
        found = in_split_order(contents(features=FEATURES.astype(dtype), source=named(range(COUNT))), split, SOURCES, "file")
        assert found.dtype == stored
        np.testing.assert_array_equal(found, FEATURES)


def test_sources_that_are_all_empty_do_not_count(split):
    """The template of a dataset that names no images has such a column."""
    given = contents({"fingerprint": split.fingerprint}, source=np.array([""] * COUNT), row=np.arange(COUNT))
    np.testing.assert_array_equal(in_split_order(given, split, (), "file"), FEATURES)


def bad(**arrays):
    return lambda split: contents({"fingerprint": split.fingerprint}, **arrays)


BROKEN = FEATURES.copy()
BROKEN[[1, 3], 2] = np.nan, np.inf
HUGE = FEATURES.astype(np.float64)
HUGE[2, 0] = 1e300
CASES = {
    "nothing says which": (lambda split: contents(), "file: neither fingerprint nor source says which images"),
    "other images": (
        lambda split: contents({"fingerprint": "0" * 64}),
        r"made from other images .*\(fingerprint 000000000000…",
    ),
    "no features": (lambda split: FeatureContents({"embedding": FEATURES}), "no array 'features' in it, only embedding"),
    "empty": (lambda split: FeatureContents({}), "only none at all"),
    "whole numbers": (bad(features=FEATURES.astype(int)), "'features' are int64"),
    "one dimension": (bad(features=FEATURES[0]), r"have the shape \[3\]"),
    "no rows": (bad(features=FEATURES[:0]), r"have the shape \[0, 3\]"),
    "too few": (bad(features=FEATURES[:4]), "file: features of 4 images; the val split of things has 5"),
    "not finite": (bad(features=BROKEN), r"NaN or infinite in 2 rows: 1, 3 \(counted from 0\)"),
    "too large for float32": (bad(features=HUGE), "NaN or infinite in 1 rows: 2"),
    "a short column": (bad(source=named()[:4]), r"'source' has the shape \[4\], and there are 5 features"),
    "missing": (
        bad(features=FEATURES[:2], source=named([1, 3])),
        "no features of 3 of the 5 images of the val split of things: 0.png, 2.png, 4.png",
    ),
    "twice": (bad(source=named([0, 1, 2, 2, 4])), "features of '2.png' stand there twice"),
    "unknown": (bad(source=np.array([*SOURCES[:4], "5.png"])), "'5.png' is no image of the val split of things"),
    "a row too far": (bad(row=np.array([0, 1, 2, 3, 5])), "5 is no image"),
    "a negative row": (bad(row=np.array([0, 1, 2, 3, -1])), "-1 is no image"),
    "a row twice": (bad(row=np.array([0, 1, 2, 2, 4])), "features of 2 stand there twice"),
    "a row that is no number": (bad(row=np.array([0.0, 1, 2, 3, 4])), "'row' holds float64"),
    "a wrong class": (
        bad(class_id=np.array(["cat", "dog", "dog", "dog", "dog"])),
        "row 1 of things val is of class cat, not dog",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line(case: str, split):
    make, message = CASES[case]
    sources = () if "row" in case and case != "no rows" else SOURCES
    with pytest.raises(UserError, match=message) as caught:
        in_split_order(make(split), split, sources, "file")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_sources_of_a_split_without_names_do_not_replace_a_fingerprint(split):
    with pytest.raises(UserError, match="no fingerprint says which images"):
        in_split_order(contents(source=named()), split, (), "file")


def test_the_template_lists_every_image(split):
    rows = list(csv.DictReader(io.StringIO(template(split, SOURCES))))
    assert tuple(rows[0]) == COLUMNS and len(rows) == COUNT
    assert [row["class_id"] for row in rows] == ["cat", "cat", "dog", "dog", "dog"]
    assert rows[2] == {"row": "2", "class_id": "dog", "class_name": "a dog", "source": "2.png", "fingerprint": "f" * 64}
    assert {row["source"] for row in csv.DictReader(io.StringIO(template(split, ())))} == {""}


def test_the_sources_of_a_dataset_are_one_a_row():
    dataset = Trifeature()
    split = dataset.split("val")
    sources = sources_of(dataset.folder() / split.name)
    assert len(sources) == len(set(sources)) == len(split.images)
    assert sources[0].startswith(split.class_ids[0]) and sources[-1].startswith(split.class_ids[-1])
