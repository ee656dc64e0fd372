import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fewbench.core import cache
from fewbench.core.cache import MANIFEST, Damaged, Entry
from fewbench.core.errors import UserError
from fewbench.core.progress import SILENT
from fewbench.core.unfinished import JOURNAL, Unfinished

from .conftest import About, names

DAMAGED = "the folder is damaged, or of another version of fewbench"


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


def test_an_entry_that_travels_is_opened_in_the_cache_that_it_comes_to(entry, tmp_path: Path, monkeypatch):
    sent = pickle.dumps(entry.make(text("a")))
    (tmp_path / "cache").rename(tmp_path / "other")
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "other"))
    found = pickle.loads(sent)
    assert (found.folder / "a.txt").read_text() == "a" and found.about == About("a")
