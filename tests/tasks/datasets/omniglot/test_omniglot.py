import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.core.errors import UsageError
from fewbench.tasks.datasets import omniglot
from fewbench.tasks.datasets.omniglot import Omniglot

from .conftest import FEW, ink_of, write_npz

REAL = Path(os.environ.get("FEWBENCH_SHARED") or Path(__file__).parents[5] / "shared") / "data" / "omniglot"
VAL_FINGERPRINT = "94e6d7f5fd88234243e77546e0bb6e705fbeb0b350c3102b3df3277fd33073a2"
real_data = pytest.mark.skipif(not (REAL / "characters.csv").is_file(), reason=f"no Omniglot in {REAL}")


@pytest.mark.parametrize(("split", "count"), [("train", 1028), ("val", 172), ("test", 423)])
def test_class_list_has_the_published_sizes(split, count):
    upright, rotated = (Omniglot(rotations=rotations).class_list(split) for rotations in (False, True))
    assert len({identifier for identifier, _ in upright}) == len({name for _, name in upright}) == count
    assert len({identifier for identifier, _ in rotated}) == len({name for _, name in rotated}) == 4 * count


def test_splits_share_no_character_and_keep_rotations_together():
    seen = set()
    for split in ("train", "val", "test"):
        identifiers = [identifier for identifier, _ in Omniglot().class_list(split)]
        bases = dict.fromkeys(identifier.rpartition("/")[0] for identifier in identifiers)
        assert identifiers == [f"{base}/rot{degrees}" for base in bases for degrees in ("000", "090", "180", "270")]
        assert not seen & bases.keys()
        seen |= bases.keys()
    assert len(seen) == 1623


def test_class_list_names_classes_readably(few):
    assert Omniglot().class_list("val")[:2] == [
        ("Japanese_(katakana)/character02/rot000", "Japanese (katakana) character02"),
        ("Japanese_(katakana)/character02/rot090", "Japanese (katakana) character02 rotated 90"),
    ]
    assert Omniglot(rotations=False).class_list("val")[0] == (
        "Japanese_(katakana)/character02",
        "Japanese (katakana) character02",
    )


def test_unknown_split_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean 'test'"):
        Omniglot().class_list("tset")


def test_images_are_shrunk_ink_turned_as_rot90_does(few, tmp_path):
    write_npz(tmp_path / "copy")
    turned = Omniglot().prepare(tmp_path / "copy", ["test"])["test"]
    upright = Omniglot(rotations=False).prepare(tmp_path / "copy", ["test"])["test"]
    rows = iter(turned.images)
    for i, character in enumerate(FEW):
        drawings = [Image.fromarray(ink).convert("L") for ink in ink_of(character)]
        small = [np.asarray(drawing.resize((28, 28), Image.Resampling.BILINEAR)) for drawing in drawings]
        np.testing.assert_array_equal(upright.images[20 * i : 20 * i + 20, :, :, 0], small)
        for turns in range(4):
            for drawing in small:
                np.testing.assert_array_equal(next(rows)[:, :, 0], np.rot90(drawing, turns))
    assert upright.class_ids == tuple(character.identifier for character in FEW)


def test_ink_is_white_and_paper_black():
    strokes = np.zeros((2, 105, 105), bool)
    strokes[1, :, :60] = True
    small = omniglot.shrink(strokes)
    assert not small[0].any()
    assert (small[1, :, :15] == 255).all() and not small[1, :, 17:].any()


def test_sources_name_class_and_drawer_of_each_row(few, tmp_path, listener):
    write_npz(tmp_path / "copy")
    sources = Omniglot().contents("test", tmp_path / "copy", listener).sources
    assert len(sources) == 3 * 4 * 20
    assert sources[25] == "Ge_ez/character10/rot090 drawer 06"


def test_progress_counts_characters(few, tmp_path, listener):
    write_npz(tmp_path / "copy")
    Omniglot().prepare(tmp_path / "copy", ["test"], listener)
    assert listener.bars == [["reading omniglot, test: characters", 3, 3]]


@real_data
def test_class_list_and_rows_are_those_of_the_published_lists():
    for split in ("train", "val", "test"):
        published = (REAL / "splits_vinyals" / f"{split}.txt").read_text().split()
        assert [identifier for identifier, _ in Omniglot().class_list(split)] == published
    with (REAL / "characters.csv").open() as file:
        rows = {(row["alphabet"], row["character"], row["part"], int(row["row"])) for row in csv.DictReader(file)}
    listed = [character for split in ("train", "val", "test") for character in omniglot.characters(split)]
    assert {(character.alphabet, character.name, character.part, character.row) for character in listed} == rows


@real_data
def test_real_drawings_are_those_known():
    split = Omniglot().prepare(REAL, ["val"])["val"]
    assert split.fingerprint == VAL_FINGERPRINT
    assert split.images.shape == (172 * 4 * 20, 28, 28, 1)
    density = np.asarray(split.images).reshape(len(split.class_ids), -1).mean(axis=1) / 255  # [classes]
    assert 0.02 < density.min() and density.max() < 0.4
