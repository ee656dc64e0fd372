import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from fewbench.benchmark.features import imported as imported_features
from fewbench.benchmark.features.imported import FEATURES as FILE
from fewbench.benchmark.features.imported import ImportedSplit, Texts, check_name, names, open_import, splits_of, text_file
from fewbench.core import cache
from fewbench.core.cache import MANIFEST
from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.datasets.base import Dataset

FEATURES = np.arange(12, dtype=np.float16).reshape(4, 3)
MADE_BY = {"name": "clip", "weights_sha256": "1"}


@dataclass(frozen=True)
class Things(Dataset):
    """Stands for any dataset: of an import its name, version and parameters count."""

    root: str = ""

    name: ClassVar[str] = "things"
    version: ClassVar[str] = "1"

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """None."""
        return []

    def contents(self, split, source, progress):
        """None."""
        raise NotImplementedError


class Said:
    """Keeps what it is told."""

    def __init__(self):
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


pytestmark = pytest.mark.usefixtures("own_cache")


def text(*class_names: str) -> tuple[Texts, np.ndarray]:
    return Texts(("a {}.",), class_names), np.eye(3, dtype=np.float32)[: len(class_names)]


def keep(name: str, features: np.ndarray = FEATURES, *texts: tuple[Texts, np.ndarray], **changes: Any) -> ImportedSplit:
    """Import features of the test split."""
    options = {"dataset": Things(), "split": "test", "fingerprint": "f" * 64, "made_by": MADE_BY, **changes}
    return imported_features.store(name, features=features, texts=texts, **options)


def features_of(found: ImportedSplit) -> np.ndarray:
    return found.array(FILE)


def test_what_is_kept_is_opened(own_cache):
    kept = keep("mine", FEATURES, text("cat", "dog"))
    opened = open_import("mine", Things(), "test")
    assert opened.folder == kept.folder == own_cache / "imported" / "mine" / "things-1-Things" / "test"
    assert features_of(opened).dtype == np.float16 and isinstance(features_of(opened), np.memmap)
    np.testing.assert_array_equal(features_of(opened), FEATURES)
    assert opened.about.shape == (4, 3) and opened.about.made_by["name"] == "clip"
    assert opened.about.texts == (Texts(("a {}.",), ("cat", "dog")),)
    np.testing.assert_array_equal(opened.array(text_file(0)), np.eye(3)[:2])
    assert names() == ["mine"] and [split.about for split in splits_of("mine")] == [opened.about]


def test_the_hash_is_of_the_features_and_the_texts():
    hashes = {
        keep(name, features, *texts).about.sha256
        for name, features, texts in (
            ("a", FEATURES, []),
            ("b", FEATURES + 1, []),
            ("c", FEATURES, [text("cat")]),
            ("d", FEATURES, [text("dog")]),
        )
    }
    assert len(hashes) == 4
    for again in (FEATURES.copy(), np.asfortranarray(FEATURES)):
        assert keep("e", again).about.sha256 in hashes


def test_the_hash_by_which_records_know_features_never_changes():
    assert keep("a").about.sha256 == hashlib.sha256((keep("a").folder / FILE).read_bytes()).hexdigest()
    kept = keep("c", FEATURES, text("cat"))
    files = [hashlib.sha256((kept.folder / name).read_bytes()).hexdigest() for name in (FILE, text_file(0))]
    described = json.dumps([files, [{"templates": ["a {}."], "class_names": ["cat"]}]])
    assert kept.about.sha256 == hashlib.sha256(described.encode()).hexdigest()


@pytest.mark.parametrize(
    "name", ["..", ".", "../x", "a/b", "a\\b", "/x", "", "-x", ".x", "a..b", "x.", "a b", "a\n", "ü", "a" * 65]
)
def test_a_name_cannot_lead_out_of_the_folder(name: str, own_cache, tmp_path):
    for call in (
        lambda: check_name(name),
        lambda: keep(name),
        lambda: open_import(name, Things(), "test"),
    ):
        with pytest.raises(UsageError, match="cannot name imported features"):
            call()
    assert not own_cache.exists() and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clip", "ViT-B-32_openai", "a.b", "2", "x+y=z"])
def test_plain_names_are_taken(name: str):
    assert check_name(name) == name


def test_the_same_again_does_nothing_and_says_so():
    kept = keep("mine")
    before = (kept.folder / MANIFEST).stat().st_mtime_ns
    said = Said()
    keep("mine", progress=said)
    assert said.lines == ["mine has these features of things test already; nothing was written"]
    assert (kept.folder / MANIFEST).stat().st_mtime_ns == before


def test_the_same_features_with_another_description_take_their_place():
    keep("mine")
    keep("mine", made_by={"name": "clip", "weights": "of June"})
    assert open_import("mine", Things(), "test").about.made_by["weights"] == "of June"


def test_others_replace_them_only_where_that_is_said():
    kept = keep("mine")
    with pytest.raises(UsageError, match=r"other features of things test are imported under that name; .*--overwrite"):
        keep("mine", FEATURES + 1)
    np.testing.assert_array_equal(features_of(open_import("mine", Things(), "test")), FEATURES)
    keep("mine", FEATURES[:, :2] + 1, overwrite=True)  # the only split may change its width too
    np.testing.assert_array_equal(features_of(open_import("mine", Things(), "test")), FEATURES[:, :2] + 1)
    assert [path.name for path in kept.folder.parent.iterdir()] == ["test"]  # nothing is left behind


def test_one_name_is_one_width_and_one_backbone():
    keep("mine")
    with pytest.raises(UsageError, match="2 numbers an image; those of things test have 3: take another name"):
        keep("mine", FEATURES[:, :2], split="train")
    with pytest.raises(UsageError, match=r"features of another backbone than those of things test \(weights_sha256 2 and 1\)"):
        keep("mine", split="train", made_by={"weights_sha256": "2"})
    keep("mine", split="train", made_by={})  # not known is no contradiction
    assert [split.about.split for split in splits_of("mine")] == ["test", "train"]


def test_parameters_of_a_dataset_have_features_of_their_own():
    keep("mine")
    with pytest.raises(UsageError, match="no features of things test were imported"):
        open_import("mine", Things(root="../elsewhere"), "test")
    kept = keep("mine", FEATURES + 1, dataset=Things(root="../elsewhere"))
    assert kept.folder.parent.parent.name == "mine" and ".." not in kept.folder.parts


def test_what_was_not_imported_is_told():
    with pytest.raises(UsageError, match="backbone imported:mine: nothing was imported under that name; known: none"):
        open_import("mine", Things(), "test")
    keep("mine")
    with pytest.raises(UsageError, match="did you mean 'mine'"):
        open_import("mime", Things(), "test")
    cure = "bench features import FILE --dataset things --split val --name mine"
    with pytest.raises(UsageError, match=f"no features of things val were imported, who needs them; {cure}"):
        open_import("mine", Things(), "val", ", who needs them")


@pytest.mark.parametrize("damage", ["features", "text", "about", "missing"])
def test_damage_is_told_and_mended_by_importing_again(damage: str):
    kept = keep("mine", FEATURES, text("cat"))
    if damage in ("features", "text"):
        path = kept.folder / (FILE if damage == "features" else text_file(0))
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
    elif damage == "about":
        (kept.folder / MANIFEST).write_text("[]")
    else:
        (kept.folder / FILE).unlink()
    with pytest.raises(UserError, match=r"the features in .* are damaged \(.*\); import their file again"):
        open_import("mine", Things(), "test")
    keep("mine", FEATURES, text("cat"))
    np.testing.assert_array_equal(features_of(open_import("mine", Things(), "test")), FEATURES)


def test_a_copied_cache_is_read_once_more_and_its_times_are_noted(own_cache, monkeypatch):
    kept = keep("mine")
    moved = own_cache.with_name("elsewhere")
    shutil.copytree(own_cache, moved)
    monkeypatch.setenv("FEWBENCH_CACHE", str(moved))
    os.utime(moved / kept.folder.relative_to(own_cache) / FILE, ns=(1, 1))
    opened = open_import("mine", Things(), "test")
    np.testing.assert_array_equal(features_of(opened), FEATURES)
    monkeypatch.setattr(cache, "sha256_of", lambda path: pytest.fail("hashed again"))
    open_import("mine", Things(), "test")
    assert json.loads((opened.folder / MANIFEST).read_text())["files"][FILE][1] == 1


def test_a_failure_leaves_what_was_there(monkeypatch):
    keep("mine")

    def full(path, array):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match="No space left on device"):
        keep("mine", FEATURES + 1, overwrite=True)
    np.testing.assert_array_equal(features_of(open_import("mine", Things(), "test")), FEATURES)
