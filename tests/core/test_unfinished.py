"""Rows that are written while an entry is in the making: an interruption loses little, and damage is noticed."""

import os
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest

from fewbench.core import unfinished as making
from fewbench.core.cache import MANIFEST, Entry
from fewbench.core.progress import SILENT
from fewbench.core.unfinished import JOURNAL, Block, Reached, Unfinished, npy_header

from .conftest import About, names

ROWS = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)


class Killed(BaseException):
    """Ends the writing as a kill does: nothing more is written."""


def writing(stop: int | None = None, error: type[BaseException] = KeyboardInterrupt, order: np.ndarray | None = None):
    """Fills an entry with `ROWS`, two at a time in an order; `calls` is told where each attempt began and what was noted."""
    calls: list[Reached] = []
    whole = np.arange(len(ROWS)) if order is None else order

    def blocks(reached: Reached) -> Generator[Block, None, None]:
        calls.append(reached)
        for start in range(reached.done, len(ROWS), 2):
            if start == stop:
                raise error
            rows = whole[start : start + 2]
            yield Block(rows, ROWS[rows], 2)

    def fill(unfinished: Unfinished) -> About:
        unfinished.write_rows("rows.npy", ROWS.shape, ROWS.dtype, blocks, SILENT, "writing")
        return About("rows")

    return fill, calls


def interrupted(entry: Entry[About], order: np.ndarray | None = None) -> None:
    with pytest.raises(KeyboardInterrupt):
        entry.make(writing(stop=6, order=order)[0], "plan")


SCATTERED = np.array([9, 8, 0, 1, 5, 3, 2, 4, 7, 6])


class TestRows:
    @pytest.mark.parametrize("order", [None, SCATTERED])
    def test_rows_come_to_their_places(self, entry: Entry[About], order: np.ndarray | None):
        made = entry.make(writing(order=order)[0], "plan")
        np.testing.assert_array_equal(made.array("rows.npy"), ROWS)
        np.save(entry.folder / "saved.npy", ROWS)
        assert (entry.folder / "rows.npy").read_bytes() == (entry.folder / "saved.npy").read_bytes()
        assert not made.array("rows.npy").flags.writeable

    def test_a_header_is_that_of_numpy(self, tmp_path: Path):
        for array in (ROWS, ROWS.astype(np.float16)[:, 0], np.zeros((100_000, 84, 84, 3), np.uint8)[:0]):
            np.save(tmp_path / "saved.npy", array)
            assert (tmp_path / "saved.npy").read_bytes().startswith(npy_header(array.shape, array.dtype))

    @pytest.mark.parametrize("order", [None, SCATTERED])
    def test_an_interrupted_writing_is_gone_on_with(self, entry: Entry[About], order: np.ndarray | None):
        interrupted(entry, order)
        assert entry.find() is None and names(entry.folder.parent) == [".val.unfinished"]
        fill, calls = writing(order=order)
        made = entry.make(fill, "plan")
        assert [(reached.done, reached.size) for reached in calls] == [(6, 2)] and calls[0].seconds > 0
        np.testing.assert_array_equal(made.array("rows.npy"), ROWS)
        assert names(entry.folder.parent) == ["val"] and names(entry.folder) == [MANIFEST, "rows.npy"]

    def test_what_is_said_of_it(self, entry: Entry[About], listener):

        def fill(stop: int | None) -> Callable[[Unfinished], About]:
            def blocks(reached: Reached) -> Generator[Block, None, None]:
                for row in range(reached.done, len(ROWS)):
                    if row == stop:
                        raise KeyboardInterrupt
                    yield Block(np.array([row]), ROWS[row : row + 1])

            def filled(unfinished: Unfinished) -> About:
                unfinished.write_rows("rows.npy", ROWS.shape, ROWS.dtype, blocks, listener, "writing")
                return About("rows")

            return filled

        for stop in (0, 3):
            with pytest.raises(KeyboardInterrupt):
                entry.make(fill(stop), "plan")
        entry.make(fill(None), "plan")
        assert listener.said == [
            "interrupted after 3 of 10 images; the same command goes on from there",
            "going on after 3 of 10 images, where an earlier attempt was interrupted",
        ]

    @pytest.mark.parametrize(("seconds", "kept"), [(-1.0, 6), (1e9, 0)])
    def test_a_killed_writing_is_gone_on_with_from_what_was_safe(self, entry, monkeypatch, seconds: float, kept: int):
        monkeypatch.setattr(making, "SAFE_SECONDS", seconds)
        with pytest.raises(Killed):
            entry.make(writing(stop=6, error=Killed)[0], "plan")
        fill, calls = writing()
        made = entry.make(fill, "plan")
        assert calls[0].done == kept
        np.testing.assert_array_equal(made.array("rows.npy"), ROWS)

    def test_what_was_written_and_not_noted_is_written_again(self, entry: Entry[About]):
        interrupted(entry)
        with (entry.unfinished / "rows.npy").open("ab") as file:
            file.write(bytes(1000))
        made = entry.make(writing()[0], "plan")
        np.testing.assert_array_equal(made.array("rows.npy"), ROWS)
        assert (entry.folder / "rows.npy").stat().st_size == len(npy_header(ROWS.shape, ROWS.dtype)) + ROWS.nbytes

    @pytest.mark.parametrize("torn", ["[6, 2, 99]\n[8", '[6, 2, 99]\n{"done": 8', "\n"])
    def test_what_a_kill_cut_from_the_journal_is_no_harm(self, entry: Entry[About], torn: str):
        interrupted(entry)
        with (entry.unfinished / JOURNAL).open("a") as journal:
            journal.write(torn)
        interrupted(entry)
        fill, calls = writing()
        made = entry.make(fill, "plan")
        assert calls[0].done == 6
        np.testing.assert_array_equal(made.array("rows.npy"), ROWS)

    def test_another_plan_begins_anew(self, entry: Entry[About]):
        interrupted(entry)
        fill, calls = writing()
        entry.make(fill, "another")
        assert calls == [Reached()]

    @pytest.mark.parametrize(
        "damage",
        [
            lambda folder: flip(folder / "rows.npy", 140),
            lambda folder: flip(folder / "rows.npy", 20),
            lambda folder: os.truncate(folder / "rows.npy", 190),
            lambda folder: (folder / "rows.npy").unlink(),
            lambda folder: (folder / JOURNAL).unlink(),
            lambda folder: (folder / JOURNAL).write_text("[" * 100_000),
            lambda folder: edit(folder / JOURNAL, "[0, 6, ", "[" * 100_000),
            lambda folder: edit(folder / JOURNAL, '"done": 6', '"done": 8'),
            lambda folder: edit(folder / JOURNAL, '"done": 6', '"done": "6"'),
            lambda folder: edit(folder / JOURNAL, '"seconds": ', '"seconds": -'),
            lambda folder: edit(folder / JOURNAL, '"size": 2', '"size": null'),
            lambda folder: edit(folder / JOURNAL, "[0, 6, ", "[0, -6, "),
            lambda folder: edit(folder / JOURNAL, "[0, 6, ", "[0, 6, 1, "),
            lambda folder: edit(folder / JOURNAL, "[0, 6, ", "[0, 6000000000000, "),
        ],
    )
    def test_what_is_damaged_is_thrown_away(self, entry: Entry[About], damage: Callable[[Path], None]):
        interrupted(entry)
        damage(entry.unfinished)
        fill, calls = writing()
        made = entry.make(fill, "plan")
        assert calls == [Reached()]
        np.testing.assert_array_equal(made.array("rows.npy"), ROWS)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def edit(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
