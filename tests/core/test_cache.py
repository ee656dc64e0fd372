import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fewbench.core import cache
from fewbench.core import unfinished as making
from fewbench.core.cache import MANIFEST, Damaged, Entry
from fewbench.core.errors import UserError
from fewbench.core.progress import SILENT, SilentProgress
from fewbench.core.unfinished import JOURNAL, Block, Reached, Unfinished, npy_header

ROWS = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
DAMAGED = "the folder is damaged, or of another version of fewbench"


@dataclass(frozen=True)
class About:
    """What the entries of these tests hold."""

    what: str


class Killed(BaseException):
    """Ends the writing as a kill does: nothing more is written."""


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry[About]:
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))
    return Entry(tmp_path / "cache" / "datasets" / "birds-1" / "val", About)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def text(content: str) -> Callable[[Unfinished], About]:
    def fill(unfinished: Unfinished) -> About:
        assert names(unfinished.folder) == [JOURNAL]
        (unfinished.folder / "a.txt").write_text(content)
        (unfinished.folder / "b.txt").write_text("b")
        return About(content)

    return fill


def failing(error: BaseException) -> Callable[[Unfinished], About]:
    def fill(unfinished: Unfinished) -> About:
        (unfinished.folder / "a.txt").write_text("half")
        raise error

    return fill


class TestEntries:
    def test_what_is_made_is_found(self, entry: Entry[About]):
        assert entry.find() is None
        made = entry.make(text("one"))
        assert entry.find() == made and made.about == About("one")
        assert names(entry.folder) == ["a.txt", "b.txt", MANIFEST] and names(entry.folder.parent) == ["val"]

    def test_it_appears_when_it_is_whole_in_place_of_an_older_one(self, entry: Entry[About]):
        entry.make(text("one"))

        def fill(unfinished: Unfinished) -> About:
            found = entry.find()
            assert found is not None and found.about == About("one")
            return text("two")(unfinished)

        entry.make(fill)
        assert (entry.folder / "a.txt").read_text() == "two" and names(entry.folder.parent) == ["val"]

    @pytest.mark.parametrize("plan", ["", "plan"])
    def test_an_error_leaves_nothing_new_and_the_old_one(self, entry: Entry[About], plan: str):
        entry.make(text("one"))
        with pytest.raises(UserError, match=r"^no$"):
            entry.make(failing(UserError("no")), plan)
        assert names(entry.folder.parent) == ["val"] and (entry.folder / "a.txt").read_text() == "one"
        with pytest.raises(UserError, match=r"^cannot write .*val: No space left on device$"):
            entry.make(failing(OSError(28, "No space left on device")), plan)
        assert names(entry.folder.parent) == ["val"]

    def test_an_interruption_without_a_plan_leaves_nothing(self, entry: Entry[About]):
        with pytest.raises(KeyboardInterrupt):
            entry.make(failing(KeyboardInterrupt()))
        assert names(entry.folder.parent) == []

    def test_what_a_killed_process_left_is_swept_by_the_next_look(self, entry: Entry[About]):
        kill = (
            "import os; from pathlib import Path; from fewbench.core.cache import Entry\n"
            f"Entry(Path({str(entry.folder)!r}), dict).make(lambda unfinished: os.kill(os.getpid(), 9))\n"
        )
        assert subprocess.run([sys.executable, "-c", kill], env=dict(os.environ)).returncode == -9
        (left,) = names(entry.folder.parent)
        assert left.startswith(".fewbench.")
        assert entry.find() is None
        assert names(entry.folder.parent) == []

    @pytest.mark.parametrize("damage", ["flip", "cut", "remove", "pipe", "manifest", "no manifest", "about"])
    def test_damage_is_noticed_and_mended(self, entry: Entry[About], damage: str):
        made = entry.make(text("one"))
        path, manifest = entry.folder / "a.txt", entry.folder / MANIFEST
        if damage == "flip":
            path.write_text("onf")
            os.utime(path, ns=(1, 1))
        elif damage == "cut":
            path.write_text("on")
        elif damage in ("remove", "pipe"):
            path.unlink()
            if damage == "pipe":
                os.mkfifo(path)
        elif damage == "no manifest":
            manifest.unlink()
        else:
            content = json.loads(manifest.read_text())
            manifest.write_text("{" if damage == "manifest" else json.dumps({**content, "about": {"what": 1}}))
        with pytest.raises(Damaged, match=r"^a\.txt is damaged$" if damage in ("flip", "cut") else f"^{DAMAGED}$"):
            entry.find()
        assert entry.sound() is None
        assert entry.find_or_make(text("one"), SILENT, "making").about == made.about
        assert entry.find(thorough=True) is not None

    def test_damage_behind_an_unchanged_time_is_found_by_a_thorough_look(self, entry: Entry[About]):
        entry.make(text("one"))
        status = (entry.folder / "a.txt").stat()
        (entry.folder / "a.txt").write_text("onf")
        os.utime(entry.folder / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
        assert entry.find() is not None
        with pytest.raises(Damaged, match=r"a\.txt"):
            entry.find(thorough=True)

    @pytest.mark.parametrize("writable", [True, False])
    def test_a_copy_is_hashed_once(self, entry: Entry[About], monkeypatch: pytest.MonkeyPatch, writable: bool):
        entry.make(text("one"))
        copy = Entry(entry.folder.with_name("copy"), About)
        shutil.copytree(entry.folder, copy.folder)
        os.utime(copy.folder / "a.txt", ns=(1, 1))
        hashed: list[str] = []
        whole = cache.sha256_of
        monkeypatch.setattr(cache, "sha256_of", lambda path: hashed.append(path.name) or whole(path))
        if not writable:
            monkeypatch.setattr(cache, "write_atomically", refuse)
        assert copy.find() is not None and copy.find() is not None
        assert hashed == ["a.txt"] * (1 if writable else 2)  # what was found is noted where that is possible

    def test_it_is_made_once(self, entry: Entry[About]):
        entry.find_or_make(text("one"), SILENT, "making")
        assert entry.find_or_make(failing(AssertionError()), SILENT, "making").about == About("one")

    def test_a_file_in_its_place_is_told(self, entry: Entry[About]):
        entry.folder.parent.mkdir(parents=True)
        entry.folder.touch()
        with pytest.raises(UserError, match=r"cannot remove .*val: Not a directory"):
            entry.make(text("one"))
        assert names(entry.folder.parent) == ["val"]


def refuse(path: Path, content: bytes) -> None:
    raise UserError(f"cannot write {path}")


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


class TestAlone:
    def test_a_second_process_waits_for_the_first(self, entry: Entry[About]):
        hold = (
            "import sys; from pathlib import Path; from fewbench.core.cache import Entry\n"
            "from fewbench.core.progress import SILENT\n"
            f"with Entry(Path({str(entry.folder)!r}), dict).alone(SILENT, ''):\n    print('in', flush=True); sys.stdin.read()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "in\n"
        said, entered = threading.Event(), threading.Event()

        class Waiting(SilentProgress):
            def say(self, message: str) -> None:
                assert message == "encoding: another process is at it; waiting"
                said.set()

        def wait() -> None:
            with entry.alone(Waiting(), "encoding"):
                entered.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert said.wait(10) and not entered.wait(0.2)
        process.stdin.close()
        assert entered.wait(10)
        waiting.join()
        process.wait()

    def test_a_killed_process_holds_nothing(self, entry: Entry[About], listener):
        hold = (
            "import os; from pathlib import Path; from fewbench.core.cache import Entry\n"
            "from fewbench.core.progress import SILENT\n"
            f"with Entry(Path({str(entry.folder)!r}), dict).alone(SILENT, ''):\n    os.kill(os.getpid(), 9)\n"
        )
        assert subprocess.run([sys.executable, "-c", hold], env=dict(os.environ)).returncode == -9
        with entry.alone(listener, "encoding"):
            pass
        assert listener.said == []

    def test_others_may_make_other_entries(self, entry: Entry[About], listener):
        with entry.alone(listener, "one"), Entry(entry.folder.with_name("test"), About).alone(listener, "other"):
            pass
        assert listener.said == []

    def test_a_long_name_fits(self, entry: Entry[About]):
        long = [Entry(entry.folder.with_name("x" * 240 + end), About) for end in "ab"]
        with long[0].alone(SILENT, "one"), long[1].alone(SILENT, "other"):
            pass


def test_an_entry_that_travels_is_opened_in_the_cache_that_it_comes_to(entry, tmp_path: Path, monkeypatch):
    sent = pickle.dumps(entry.make(text("a")))
    (tmp_path / "cache").rename(tmp_path / "other")
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "other"))
    found = pickle.loads(sent)
    assert (found.folder / "a.txt").read_text() == "a" and found.about == About("a")
