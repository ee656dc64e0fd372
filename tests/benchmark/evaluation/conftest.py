import pytest

from fewbench.benchmark.evaluation import evaluate as evaluation
from fewbench.benchmark.evaluation import runner


@pytest.fixture
def same_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush after every chunk, which is small, instead of every two seconds; the checkout may be edited while the tests run."""
    monkeypatch.setattr(evaluation, "CHUNK", 64)
    monkeypatch.setattr(runner, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(runner, "code_version", lambda: {"version": "1", "git_commit": None, "git_dirty": None})
