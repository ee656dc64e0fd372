"""One process at a time makes an entry; others wait."""

import os
import subprocess
import sys
import threading

from fewbench.core.cache import Entry
from fewbench.core.progress import SILENT, SilentProgress

from .conftest import About


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
