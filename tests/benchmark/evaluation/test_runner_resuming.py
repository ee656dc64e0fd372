"""Runs that end early or twice: what is kept, what goes on, and that the result is that of an undisturbed run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fewbench.benchmark import RunConfig
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, write_checkpoint
from fewbench.benchmark.evaluation import evaluate as evaluation
from fewbench.benchmark.evaluation import runner
from fewbench.benchmark.records.store import load_record
from fewbench.core.errors import Interrupted, UserError
from fewbench.core.progress import SILENT
from fewbench.methods.base import Episodes
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.samplers import UniformSampler

EPISODES = 340  # of `config`
CHUNK = 64  # episodes a chunk, as `same_conditions` says

pytestmark = pytest.mark.usefixtures("same_conditions")


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


def files(config: RunConfig) -> list[Path]:
    return sorted(path for path in config.results.rglob("*") if path.is_file())


def content(path: Path) -> dict[str, Any]:
    """A record's file without its times."""
    text = path.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    content = json.loads(text)
    del content["timing"]
    return content


def test_a_finished_run_is_read_and_not_repeated(config: RunConfig, stopped_at):
    first = runner.run(config, SILENT)
    before = first.path.read_bytes()
    stopped_at(0, AssertionError("nothing may be classified"))
    again = runner.run(config, SILENT)
    assert again.reused and again.path == first.path
    assert again.record.to_json() == first.record.to_json()
    assert first.path.read_bytes() == before


def test_overwrite_repeats_it_with_the_same_result(config: RunConfig):
    first = runner.run(config, SILENT)
    expected = content(first.path)
    again = runner.run(replace(config, overwrite=True), SILENT)
    assert not again.reused and again.path == first.path
    assert content(again.path) == expected


@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["flushed", "not flushed"])
@pytest.mark.parametrize("episode", [CHUNK, 4 * CHUNK + 3])
def test_ctrl_c_leaves_a_state_from_which_the_same_run_goes_on(
    config: RunConfig, stopped_at, episode: int, seconds: float, monkeypatch: pytest.MonkeyPatch, listener
):
    monkeypatch.setattr(runner, "FLUSH_SECONDS", seconds)
    undisturbed = content(runner.run(replace(config, results=config.results / "undisturbed"), SILENT).path)
    stopped_at(episode, KeyboardInterrupt())
    done = episode // CHUNK * CHUNK
    with pytest.raises(Interrupted, match=f"^interrupted after {done} of {EPISODES} episodes; the same command") as caught:
        runner.run(config, SILENT)
    assert caught.value.exit_code == 130
    (partial,) = (path for path in files(config) if "undisturbed" not in path.parts)
    assert partial.name.endswith(".partial.json")
    assert (load_record(partial).status, load_record(partial).n_episodes) == ("partial", done)
    stopped_at(None)
    outcome = runner.run(config, listener)
    assert listener.said == [f"resuming after {done} of {EPISODES} episodes"]
    assert not outcome.reused and not partial.exists()
    assert content(outcome.path) == undisturbed


def test_several_interruptions_end_in_the_same_record(config: RunConfig, stopped_at):
    undisturbed = content(runner.run(replace(config, results=config.results / "undisturbed"), SILENT).path)
    left = []
    for _ in range(3):
        stopped_at(CHUNK, KeyboardInterrupt())
        with pytest.raises(Interrupted):
            runner.run(config, SILENT)
        left += [load_record(path) for path in config.results.glob("records/**/*.partial.json")]
    assert [record.n_episodes for record in left] == [CHUNK, 2 * CHUNK, 3 * CHUNK]
    seconds = [record.timing.total_seconds for record in left]
    assert seconds == sorted(seconds)  # the time of all attempts
    stopped_at(None)
    assert content(runner.run(config, SILENT).path) == undisturbed


def test_ctrl_c_before_the_first_chunk_leaves_nothing(config: RunConfig, stopped_at):
    stopped_at(0, KeyboardInterrupt())
    with pytest.raises(Interrupted, match=f"^interrupted after 0 of {EPISODES} episodes$"):
        runner.run(config, SILENT)
    assert files(config) == []


def test_ctrl_c_right_after_resuming_keeps_what_was_there(config: RunConfig, stopped_at):
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(Interrupted):
        runner.run(config, SILENT)
    (partial,) = files(config)
    before = partial.read_bytes()
    stopped_at(0, KeyboardInterrupt())
    with pytest.raises(Interrupted, match=f"^interrupted after {2 * CHUNK} of"):
        runner.run(config, SILENT)
    assert partial.read_bytes() == before


def test_an_error_leaves_no_partial_record(config: RunConfig, stopped_at):
    stopped_at(2 * CHUNK, RuntimeError("out of luck"))
    with pytest.raises(UserError, match=r"method protonet failed in episodes 128 to 191: RuntimeError: out of luck"):
        runner.run(config, SILENT)
    assert files(config) == []


def test_an_error_keeps_an_earlier_complete_record(config: RunConfig, stopped_at):
    first = runner.run(config, SILENT)
    before = first.path.read_bytes()
    stopped_at(2 * CHUNK, RuntimeError("out of luck"))
    with pytest.raises(UserError):
        runner.run(replace(config, overwrite=True), SILENT)
    assert files(config) == [first.path]
    assert first.path.read_bytes() == before


def test_ctrl_c_while_overwriting_keeps_the_earlier_complete_record(config: RunConfig, stopped_at):
    first = runner.run(config, SILENT)
    before = first.path.read_bytes()
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(Interrupted, match=r"^interrupted after 128 of \d+ episodes; the same command starts anew"):
        runner.run(replace(config, overwrite=True), SILENT)
    assert first.path.read_bytes() == before


def test_an_error_after_an_interruption_keeps_a_resumable_state(config: RunConfig, stopped_at):
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(Interrupted):
        runner.run(config, SILENT)
    stopped_at(CHUNK, RuntimeError("out of luck"))
    with pytest.raises(UserError):
        runner.run(config, SILENT)
    (partial,) = files(config)
    assert load_record(partial).n_episodes in (2 * CHUNK, 3 * CHUNK)


def test_a_limited_run_is_partial_and_goes_on_to_the_full_one(config: RunConfig, listener):
    full = content(runner.run(replace(config, results=config.results / "full"), SILENT).path)
    limited = runner.run(replace(config, limit=100), SILENT)
    assert (limited.record.status, limited.record.n_episodes) == ("partial", 100)
    assert limited.path.name.endswith(".partial.json") and limited.path.exists()
    assert runner.run(replace(config, limit=100), SILENT).reused
    assert runner.run(replace(config, limit=50), SILENT).reused
    more = runner.run(replace(config, limit=200), listener)
    assert (more.reused, more.record.n_episodes, more.path) == (False, 200, limited.path)
    outcome = runner.run(config, listener)
    assert outcome.record.complete and not limited.path.exists()
    assert content(outcome.path) == full
    # Chunks lie on a fixed grid, so that a method sees the same batches as in an undisturbed run.
    assert listener.said == [f"resuming after {whole} of {EPISODES} episodes" for whole in (64, 192)]


def test_a_partial_record_of_other_code_is_not_continued(config: RunConfig, monkeypatch: pytest.MonkeyPatch, listener):
    partial = runner.run(replace(config, limit=CHUNK), SILENT).path
    monkeypatch.setattr(ProtoNet, "version", "2")
    outcome = runner.run(config, listener)
    assert outcome.record.complete and outcome.record.method.code == "version 2"
    assert listener.said == [f"{partial} was left by other code or preprocessing; starting from the first episode"]
    assert not partial.exists()


OTHERS = {"protonet": (ProtoNet,), "conv4": (Conv4,), "uniform": (UniformSampler,), "protonet and conv4": (ProtoNet, Conv4)}


@pytest.mark.parametrize("others", OTHERS)
def test_a_finished_record_of_other_code_is_told(config: RunConfig, monkeypatch: pytest.MonkeyPatch, others: str, listener):
    runner.run(config, SILENT)
    for cls in OTHERS[others]:
        monkeypatch.setattr(cls, "version", "2")
    assert runner.run(config, listener).reused
    assert len(listener.said) == 1 and f"another version of {others}'s code; --overwrite" in listener.said[0]


def test_a_partial_record_of_another_backbones_code_is_not_continued(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, listener
):
    partial = runner.run(replace(config, limit=CHUNK), SILENT).path
    monkeypatch.setattr(Conv4, "version", "2")
    assert runner.run(config, listener).record.backbone.code == "version 2"
    assert listener.said == [f"{partial} was left by other code or preprocessing; starting from the first episode"]


@pytest.mark.parametrize("limit", [None, CHUNK], ids=["finished", "partial"])
def test_images_that_are_prepared_otherwise_are_another_run(
    config: RunConfig, tiny_weights: Path, tmp_path: Path, limit: int | None, listener
):
    weights = tmp_path / "weights.safetensors"
    checkpoint = read_checkpoint(tiny_weights)
    assert checkpoint.description is not None
    write_checkpoint(weights, checkpoint.tensors, checkpoint.description)
    config = replace(config, weights=str(weights))
    first = runner.run(replace(config, limit=limit), SILENT)
    preprocess = replace(checkpoint.description.preprocess, mean=(0.1, 0.9, 0.1))
    write_checkpoint(weights, checkpoint.tensors, replace(checkpoint.description, preprocess=preprocess))
    again = runner.run(config, listener)
    assert not again.reused and again.record.content["backbone"]["preprocess"]["mean"] == [0.1, 0.9, 0.1]
    assert (first.record.accuracies != again.record.accuracies[: first.record.n_episodes]).any()
    left = f"{first.path} was left by other code or preprocessing; starting from the first episode"
    made = f"{first.path} was made from images that were prepared otherwise; it is made again"
    assert listener.said == [left if limit else made]
    assert content(again.path) == content(runner.run(replace(config, results=config.results / "anew"), SILENT).path)


def test_a_finished_record_that_does_not_say_its_backbones_code_is_reused(config: RunConfig, listener):
    path = runner.run(config, SILENT).path
    older = json.loads(path.read_text(encoding="utf-8"))
    del older["backbone"]["code"], older["backbone"]["preprocess"], older["timing"]["disjoint_seconds"]
    path.write_text(json.dumps(older), encoding="utf-8")
    assert runner.run(config, listener).reused
    assert listener.said == []


def test_a_partial_record_that_does_not_say_its_backbones_code_is_of_version_1(config: RunConfig, listener):
    path = runner.run(replace(config, limit=CHUNK), SILENT).path
    older = json.loads(path.read_text(encoding="utf-8"))
    del older["backbone"]["code"], older["timing"]["disjoint_seconds"]
    path.write_text(json.dumps(older), encoding="utf-8")
    assert runner.run(config, listener).record.complete
    assert listener.said == [f"resuming after {CHUNK} of {EPISODES} episodes"]


@pytest.mark.parametrize("partial", [False, True])
def test_a_damaged_record_is_told_and_made_again(config: RunConfig, partial: bool, listener):
    expected = content(runner.run(replace(config, results=config.results / "undamaged"), SILENT).path)
    path = runner.run(replace(config, limit=CHUNK if partial else None), SILENT).path
    path.write_bytes(path.read_bytes()[:-100])
    outcome = runner.run(config, listener)
    assert not outcome.reused and content(outcome.path) == expected
    assert len(listener.said) == 1 and str(path) in listener.said[0] and "damaged" in listener.said[0]


def test_varying_episodes_resume_too(config: RunConfig, stopped_at):
    varying = replace(config, sampler="meta-dataset")
    undisturbed = content(runner.run(replace(varying, results=config.results / "undisturbed"), SILENT).path)
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(Interrupted):
        runner.run(varying, SILENT)
    stopped_at(None)
    assert content(runner.run(varying, SILENT).path) == undisturbed


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
