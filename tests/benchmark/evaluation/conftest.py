"""Runs under the same conditions, which may be stopped at an episode."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fewbench.benchmark.evaluation import evaluate as evaluation
from fewbench.benchmark.evaluation import runner
from fewbench.methods.base import Episodes
from fewbench.methods.metric.protonet import ProtoNet

EPISODES = 340  # of `config`
CHUNK = 64  # episodes a chunk, as `same_conditions` says


@pytest.fixture
def same_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush after every chunk, which is small, instead of every two seconds; the checkout may be edited while the tests run."""
    monkeypatch.setattr(evaluation, "CHUNK", CHUNK)
    monkeypatch.setattr(runner, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(runner, "code_version", lambda: {"version": "1", "git_commit": None, "git_dirty": None})


@pytest.fixture
def stopped_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes ProtoNet raise an error when it comes to an episode of the main loop; of None, undoes that."""
    classify = ProtoNet.classify

    def stop(episode: int | None, error: BaseException | None = None) -> None:
        seen = 0

        def until(self: ProtoNet, episodes: Episodes) -> torch.Tensor:
            nonlocal seen
            if len(episodes) == CHUNK:  # the disjoint episodes after the loop are fewer
                seen += CHUNK
                if episode is not None and error is not None and seen > episode:
                    raise error
            return classify(self, episodes)

        monkeypatch.setattr(ProtoNet, "classify", until)

    return stop


def content(path: Path) -> dict[str, Any]:
    """A record's file without its times."""
    text = path.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    content = json.loads(text)
    del content["timing"]
    return content
