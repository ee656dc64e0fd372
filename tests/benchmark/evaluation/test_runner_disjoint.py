"""The episodes that share no image, which a run comes to last."""

from dataclasses import replace

import pytest
import torch

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation import evaluate as evaluation
from fewbench.benchmark.evaluation import runner
from fewbench.benchmark.records.store import load_record
from fewbench.core.errors import Interrupted
from fewbench.core.progress import SILENT
from fewbench.methods.base import Episodes
from fewbench.methods.metric.protonet import ProtoNet

from .conftest import EPISODES, content

pytestmark = pytest.mark.usefixtures("same_conditions")


DISJOINT = 10  # episodes of `config` that share no image: 12 classes of 5 hands make 2 groups of 5 classes 5 times
SMALL = 4  # episodes a chunk, so that there are several chunks of them: 4, 4 and 2


@pytest.fixture
def classified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the chunks that ProtoNet is given. The chunks are small."""
    sizes: list[int] = []
    classify = ProtoNet.classify
    monkeypatch.setattr(evaluation, "CHUNK", SMALL)
    monkeypatch.setattr(evaluation, "SMALLEST", SMALL)
    monkeypatch.setattr(ProtoNet, "classify", lambda self, episodes: sizes.append(len(episodes)) or classify(self, episodes))
    return sizes


def test_episodes_that_share_no_image_come_last_with_a_bar_of_their_own(config: RunConfig, classified: list[int], listener):
    record = runner.run(config, listener).record
    assert classified == [SMALL] * (EPISODES // SMALL) + [4, 4, 2]
    name = "protonet on tiny.py:Tiny"
    assert listener.bars[-2:] == [[name, EPISODES, EPISODES], [f"{name}, no image twice", DISJOINT, DISJOINT]]
    assert record.accuracy.without_replacement.episodes == DISJOINT


def test_a_limited_run_leaves_out_the_episodes_that_share_no_image(config: RunConfig, classified: list[int]):
    record = runner.run(replace(config, limit=2 * SMALL), SILENT).record
    assert classified == [SMALL, SMALL]
    assert record.accuracy.without_replacement is None and record.timing.disjoint_seconds == 0


@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["flushed", "not flushed"])
@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_ctrl_c_among_the_episodes_that_share_no_image_keeps_what_was_done(
    config: RunConfig, classified: list[int], monkeypatch: pytest.MonkeyPatch, chunks: int, seconds: float
):
    monkeypatch.setattr(runner, "FLUSH_SECONDS", seconds)
    undisturbed = content(runner.run(replace(config, results=config.results / "undisturbed"), SILENT).path)
    classified.clear()
    with monkeypatch.context() as patch:
        classify, until = ProtoNet.classify, EPISODES // SMALL + chunks

        def interrupted(self: ProtoNet, episodes: Episodes) -> torch.Tensor:
            if len(classified) == until:
                raise KeyboardInterrupt
            return classify(self, episodes)

        patch.setattr(ProtoNet, "classify", interrupted)
        with pytest.raises(Interrupted, match=f"^interrupted after {EPISODES} of {EPISODES} episodes; the same command"):
            runner.run(config, SILENT)
    (partial,) = config.results.glob("records/**/*.partial.json")
    left = load_record(partial)
    apart = left.accuracy.without_replacement
    assert (left.status, left.n_episodes) == ("partial", EPISODES)
    assert (apart.episodes if apart else 0) == SMALL * chunks
    classified.clear()
    outcome = runner.run(config, SILENT)
    assert classified == [4, 4, 2][chunks:]
    assert content(outcome.path) == undisturbed and not partial.exists()
    assert outcome.record.timing.disjoint_seconds >= left.timing.disjoint_seconds
