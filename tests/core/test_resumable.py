import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fewbench.core.errors import UserError
from fewbench.core.resumable import STATE, alone, resumable_folder, unfinished_folder


@pytest.fixture
def final(tmp_path) -> Path:
    return tmp_path / "cache" / "datasets" / "birds-1" / "val"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt_after(final: Path, done: int, plan: str = "plan", error: type[BaseException] = KeyboardInterrupt) -> None:
    with pytest.raises(error), resumable_folder(final, plan) as unfinished:
        (unfinished.folder / "images").write_text(f"up to {done}")
        unfinished.reached(done)
        raise error


def test_the_folder_appears_when_the_block_ends(final):
    with resumable_folder(final, "plan") as unfinished:
        assert unfinished.done == 0 and not names(unfinished.folder)
        (unfinished.folder / "images").write_text("all")
        unfinished.reached(5)
        assert not final.exists()
    assert names(final) == ["images"]
    assert names(final.parent) == ["val"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_what_the_next_attempt_goes_on_from(final, error):
    interrupt_after(final, 7, error=error)
    assert not final.exists()
    with resumable_folder(final, "plan") as unfinished:
        assert unfinished.done == 7
        assert (unfinished.folder / "images").read_text() == "up to 7"
    assert names(final) == ["images"] and names(final.parent) == ["val"]


def test_another_plan_begins_anew(final):
    interrupt_after(final, 7)
    with resumable_folder(final, "another") as unfinished:
        assert unfinished.done == 0 and not names(unfinished.folder)


@pytest.mark.parametrize("state", ["", "{", "[]", '{"plan": "plan"}', '{"plan": "plan", "done": null}'])
def test_a_damaged_note_begins_anew(final, state):
    interrupt_after(final, 7)
    (unfinished_folder(final) / STATE).write_text(state)
    with resumable_folder(final, "plan") as unfinished:
        assert unfinished.done == 0 and not names(unfinished.folder)


def test_an_error_leaves_nothing_new_and_the_old_folder(final):
    final.mkdir(parents=True)
    (final / "images").write_text("old")
    interrupt_after(final, 7, error=UserError)
    assert names(final.parent) == ["val"] and (final / "images").read_text() == "old"


def test_an_older_folder_is_replaced(final):
    final.mkdir(parents=True)
    (final / "old").touch()
    with resumable_folder(final, "plan") as unfinished:
        (unfinished.folder / "images").touch()
        assert names(final) == ["old"]
    assert names(final) == ["images"] and names(final.parent) == ["val"]


def test_a_full_disk_is_one_line(final):
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device"), resumable_folder(final, "plan"):
        raise OSError(28, "No space left on device")
    assert not names(final.parent)


def test_a_second_process_waits_for_the_first(final):
    hold = (
        "import sys; from pathlib import Path; from fewbench.core.resumable import alone\n"
        f"with alone(Path({str(final)!r}), lambda: None):\n    print('in', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "in\n"
    said, entered = threading.Event(), threading.Event()

    def wait() -> None:
        with alone(final, said.set):
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert said.wait(10) and not entered.wait(0.2)
    process.stdin.close()
    assert entered.wait(10)
    waiting.join()
    process.wait()


def test_a_killed_process_holds_nothing(final):
    hold = (
        "import os; from pathlib import Path; from fewbench.core.resumable import alone\n"
        f"with alone(Path({str(final)!r}), lambda: None):\n    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", hold], env=dict(os.environ)).returncode == -9
    said = []
    with alone(final, lambda: said.append(1)):
        pass
    assert not said


def test_others_may_make_other_folders(final):
    said = []
    with alone(final, lambda: said.append(1)), alone(final.parent / "test", lambda: said.append(1)):
        pass
    assert not said
