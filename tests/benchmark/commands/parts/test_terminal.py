import io
import time

import pytest
from rich.console import Console

from fewbench.benchmark.commands.parts.terminal import TerminalProgress


@pytest.fixture
def written() -> tuple[TerminalProgress, io.StringIO]:
    progress, file = TerminalProgress(), io.StringIO()
    progress.console = Console(file=file, width=200)
    return progress, file


def test_a_bar_with_a_unit_shows_its_rate(written):
    progress, file = written
    with progress.track("encoding it", 5000, "images") as advance:
        advance(0)
        advance(5000)
    (line,) = file.getvalue().splitlines()
    assert line.startswith("encoding it") and "5000/5000" in line and line.rstrip().endswith(" images/s")


def test_what_an_earlier_attempt_did_does_not_count(written):
    progress, file = written
    with progress.track("encoding it", 10_000_000, "images") as advance:
        advance(9_999_999)
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:
            pass
        advance(1)
    rate = file.getvalue().split()[-2]
    assert float(rate.replace(",", "")) <= 20


def test_a_bar_without_a_unit_shows_none(written):
    progress, file = written
    with progress.track("reading", 5) as advance:
        advance(5)
    assert "/s" not in file.getvalue() and "5/5" in file.getvalue()


def test_verbosity_is_the_users_choice():
    assert not TerminalProgress().verbose and TerminalProgress(verbose=True).verbose


def test_a_bar_within_another_is_below_it_while_it_runs(written):
    progress, file = written
    with progress.track("two runs", 8, "episodes") as advance:
        with progress.track("first run", 4), progress.track("encoding it", 5000, "images") as encode:
            assert progress.bars is not None
            assert [task.description for task in progress.bars.tasks] == ["two runs", "first run", "encoding it"]
            for steps in (0, 1):
                advance(8 * steps)
                encode(5000 * steps)
            rates = [str(progress.bars.columns[-1].render(task)).split(" ")[-1] for task in progress.bars.tasks]
            assert rates[0] == "episodes/s" and rates[2] == "images/s"
        assert [task.description for task in progress.bars.tasks] == ["two runs"]
    assert progress.bars is None
    assert "two runs" in file.getvalue() and "8/8" in file.getvalue()
