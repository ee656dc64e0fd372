import json
import os
import resource
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from fewbench.core import cache, unfinished
from fewbench.core.cache import MANIFEST, Entry
from fewbench.core.code_versions import code_of
from fewbench.core.errors import UsageError, UserError
from fewbench.core.options import parameter
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets import store
from fewbench.tasks.datasets.base import Contents, Dataset, existing
from fewbench.tasks.datasets.split import split_name

DAMAGED = "the folder is damaged, or of another version of fewbench"


@dataclass(frozen=True)
class Numbers(Dataset):
    """Row r of class c is full of the number 10·c + r; rows come last first, in pieces of two."""

    name = "numbers"
    version = "1"
    citation = licence = homepage = "-"

    interrupted_at: ClassVar[int | None] = None  # the row at which Ctrl-C comes
    interruption: ClassVar[type[BaseException]] = KeyboardInterrupt
    resumed_after: ClassVar[list[int]] = []

    count: int = parameter(5, "images a class")

    def class_list(self, split: str) -> list[tuple[str, str]]:
        return [("a", "A"), ("b", "B")]

    def contents(self, split: str, source: Path | None, progress: Any) -> Contents:
        if split == "val" and source is not None:
            raise UserError("no val here")
        total = 2 * self.count

        def stream(done: int):
            self.resumed_after.append(done)
            order = np.arange(total)[::-1]
            for start in range(done, total, 2):
                rows = order[start : start + 2]
                if self.interrupted_at in rows:
                    raise self.interruption
                values = 10 * (rows // self.count) + rows % self.count
                yield rows, np.broadcast_to(values[:, None, None, None], (len(rows), 4, 4, 1)).astype(np.uint8)

        names = [f"{row}.png" for row in range(total)]
        return Contents(["a", "b"], ["A", "B"], [self.count] * 2, (4, 4, 1), sources=names, stream=stream)


def origin(source: str) -> store.Origin:
    return store.Origin("numbers", "1", {}, "test", "-", "-", "-", source, code_of(Numbers))


def prepared(split: str) -> store.Prepared:
    found = store.prepared(Numbers().folder() / split)
    assert found is not None
    return found.about


@pytest.fixture(autouse=True)
def uninterrupted(monkeypatch):
    monkeypatch.setattr(Numbers, "resumed_after", [])


def test_streamed_images_come_to_their_rows(listener):
    split = Numbers().prepare(splits=["test"], progress=listener)["test"]
    assert split.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert (split.images == split.images[:, :1, :1]).all()
    assert split.labels.tolist() == [0] * 5 + [1] * 5
    assert listener.bars == [["reading numbers, test: images", 10, 10]]
    assert (Numbers().folder() / "test" / store.SOURCES).read_text().split("\n")[:2] == ["0.png", "1.png"]


def test_streamed_and_filled_images_have_the_same_fingerprint():
    def fill(images, progress):
        images[:] = Numbers().split("test").images

    filled = Contents(["a", "b"], ["A", "B"], [5, 5], (4, 4, 1), fill=fill)
    store.build(Numbers().folder() / "filled", filled, origin("here"), SILENT)
    assert prepared("filled").fingerprint == Numbers().split("test").fingerprint


def test_an_interrupted_preparation_is_gone_on_with(listener, monkeypatch):
    monkeypatch.setattr(Numbers, "interrupted_at", 3)
    with pytest.raises(KeyboardInterrupt):
        Numbers().prepare(splits=["test"], progress=listener)
    assert listener.said == ["interrupted after 6 of 10 images; the same command goes on from there"]
    assert Numbers().problem("test") == store.ABSENT
    monkeypatch.setattr(Numbers, "interrupted_at", None)
    split = Numbers().prepare(splits=["test"], progress=listener)["test"]
    assert listener.said[1:] == ["going on after 6 of 10 images, where an earlier attempt was interrupted"]
    assert listener.bars[1] == ["reading numbers, test: images", 10, 10]
    assert Numbers.resumed_after == [0, 6]
    assert split.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert [path.name for path in Numbers().folder().iterdir()] == ["test"]


class Killed(BaseException):
    """Ends a preparation as a kill does: nothing more is written."""


@pytest.mark.parametrize(("seconds", "kept"), [(-1.0, 4), (1e9, 0)])
def test_a_killed_preparation_is_gone_on_with_from_what_was_safe(monkeypatch, seconds, kept):
    monkeypatch.setattr(unfinished, "SAFE_SECONDS", seconds)
    monkeypatch.setattr(Numbers, "interrupted_at", 5)
    monkeypatch.setattr(Numbers, "interruption", Killed)
    with pytest.raises(Killed):
        Numbers().prepare(splits=["test"])
    monkeypatch.setattr(Numbers, "interrupted_at", None)
    split = Numbers().prepare(splits=["test"])["test"]
    assert Numbers.resumed_after == [0, kept]
    assert split.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


def test_nothing_is_written_when_a_later_split_lacks_something(tmp_path):
    with pytest.raises(UserError, match="no val here"):
        Numbers().prepare(tmp_path)
    assert not (tmp_path / "cache" / "datasets").exists()


def test_prepared_splits_are_left_alone_unless_asked_for_again():
    Numbers().prepare(splits=["test"])
    before = (Numbers().folder() / "test").stat().st_ino
    Numbers().prepare()
    assert (Numbers().folder() / "test").stat().st_ino == before
    Numbers().prepare(again=True)
    assert (Numbers().folder() / "test").stat().st_ino != before


def test_a_split_made_meanwhile_by_another_process_is_not_made_again(monkeypatch):
    alone = Entry.alone

    @contextmanager
    def another_was_first(self, *arguments):
        with alone(self, *arguments):
            contents = Numbers().contents("test", None, SILENT)
            store.build(Numbers().folder() / "test", contents, origin("another process"), SILENT)
            yield

    monkeypatch.setattr(Entry, "alone", another_was_first)
    Numbers().prepare(splits=["test"])
    assert prepared("test").origin.source == "another process"


def test_the_manifest_says_where_the_images_come_from(tmp_path):
    Numbers().prepare(tmp_path, ["test"])
    about = prepared("test")
    assert about.origin.source == str(tmp_path)
    assert about.origin.parameters == {"count": 5}
    assert about.shape == (10, 4, 4, 1)


def test_a_disk_that_is_too_small_is_found_before_the_work(monkeypatch, tmp_path):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 479}))
    with pytest.raises(UserError, match=r"0 MB are needed .* FEWBENCH_CACHE to a folder on another disk"):
        Numbers().prepare()  # three splits of 160 bytes
    assert not list((tmp_path / "cache" / "datasets").iterdir())


@pytest.mark.parametrize("images", [100_000, 3_000_000])
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(images, tmp_path):
    """The limit on the size of files stands for the disk; Python ignores its signal, so writing gives an error."""
    count = images // 32
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*: File too large") as caught:
            Numbers(count=count).prepare(splits=["test"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert not list(Numbers(count=count).folder().iterdir())


def test_a_damaged_split_is_built_again_and_said(listener):
    Numbers().split("test")
    (Numbers().folder() / "test" / MANIFEST).write_text("{}")
    assert Numbers().problem("test") == DAMAGED
    assert len(Numbers().split("test", listener).images) == 10
    assert listener.said == [f"numbers, test: {DAMAGED}; building it again"]
    assert Numbers().problem("test", thorough=True) is None


def test_an_unfinished_split_does_not_count_as_prepared(monkeypatch):
    monkeypatch.setattr(Numbers, "interrupted_at", 3)
    with pytest.raises(KeyboardInterrupt):
        Numbers().prepare(splits=["test"])
    assert store.entry(Numbers().folder() / "test").unfinished.is_dir()
    assert Numbers().problem("test") == store.ABSENT


def test_file_names_with_line_breaks_or_odd_bytes_keep_one_line_a_row():
    names = ["a\nb.png", os.fsdecode(b"\xff.png")]
    content = Contents(["a"], ["A"], [2], (1, 1, 1), sources=names, fill=lambda images, progress: None)
    store.build(Numbers().folder() / "odd", content, origin("here"), SILENT)
    text = (Numbers().folder() / "odd" / store.SOURCES).read_text(encoding="utf-8")
    assert text.split("\n") == ["a\\nb.png", "\\udcff.png", ""]


def test_a_read_only_cache_can_be_opened(monkeypatch):
    Numbers().split("test")
    images = Numbers().folder() / "test" / store.IMAGES
    os.utime(images, ns=(1, 1))  # as after a copy by someone else

    def refuse(path, content):
        raise UserError("read-only")

    monkeypatch.setattr(cache, "write_atomically", refuse)
    assert len(Numbers().split("test").images) == 10


def test_split_names_and_sources_are_checked(tmp_path):
    assert split_name("val") == "val" and existing(tmp_path) == tmp_path
    with pytest.raises(UsageError, match="did you mean 'test'"):
        split_name("tset")
    with pytest.raises(UserError, match=r"--from .*nowhere: no such file or folder"):
        existing(tmp_path / "nowhere")


def test_manifest_is_json_that_others_can_read():
    Numbers().split("test")
    manifest = json.loads((Numbers().folder() / "test" / MANIFEST).read_text())
    assert manifest["about"].keys() >= {"origin", "class_names", "fingerprint", "counts"}
    assert manifest["about"]["origin"].keys() >= {"dataset", "version", "split", "citation", "licence", "source"}
