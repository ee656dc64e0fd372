import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewbench.benchmark import RunConfig, registry, run, runner
from fewbench.benchmark.config import grid
from fewbench.benchmark.evaluation import CHUNK
from fewbench.benchmark.feature_table import feature_table
from fewbench.benchmark.records import load_record
from fewbench.benchmark.statistics import t_interval
from fewbench.methods.base import Method
from fewbench.methods.protonet import ProtoNet
from fewbench.tasks.episodes import digest
from fewbench.tasks.errors import UsageError, UserError
from fewbench.tasks.progress import SILENT, SilentProgress
from fewbench.tasks.samplers import UniformSampler

EPISODES = 5 * CHUNK + 20


class Messages(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def config(tiny: str, tiny_weights: Path, tmp_path: Path) -> RunConfig:
    return RunConfig(
        dataset=tiny, weights=str(tiny_weights), queries=5, episodes=EPISODES, output=tmp_path / "results", device="cpu"
    )


@pytest.fixture(autouse=True)
def same_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush after every chunk instead of every two seconds; and the checkout may be edited while the tests run."""
    monkeypatch.setattr(runner, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(runner, "code_version", lambda: {"version": "1", "git_commit": None, "git_dirty": None})


@pytest.fixture
def stopped_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], None]:
    """A function that makes ProtoNet raise an error when it comes to an episode of the main loop."""
    classify = ProtoNet.classify

    def stop(episode: int, error: BaseException) -> None:
        seen = 0

        def until(self: ProtoNet, episodes: Any) -> torch.Tensor:
            nonlocal seen
            if len(episodes) == CHUNK:  # the disjoint episodes before the loop are fewer
                seen += CHUNK
                if seen > episode:
                    raise error
            return classify(self, episodes)

        monkeypatch.setattr(ProtoNet, "classify", until)

    def restore_or_stop(episode: int | None, error: BaseException | None = None) -> None:
        if episode is None or error is None:
            monkeypatch.setattr(ProtoNet, "classify", classify)
        else:
            stop(episode, error)

    return restore_or_stop


def files(config: RunConfig) -> list[Path]:
    return sorted(path for path in config.output.rglob("*") if path.is_file())


def content(path: Path) -> dict[str, Any]:
    """A record's file without its times."""
    text = path.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    content = json.loads(text)
    del content["timing"]
    return content


def test_a_record_says_what_was_done(config: RunConfig, tiny: str):
    outcome = runner.run(config, SILENT)
    record = outcome.record
    assert not outcome.reused and record.complete
    assert files(config) == [outcome.path]
    assert load_record(outcome.path).to_json() == record.to_json()
    split = registry.load(registry.find("datasets", tiny))().split("test")
    sampler = UniformSampler(split.offsets, 0, 5, 1, 5)
    task = record.task
    assert task["fingerprint"] == split.fingerprint
    assert task["episodes_sha256"] == digest([sampler.draw(0, EPISODES)])
    assert (task["ways"], task["shots"], task["queries"], task["seed"]) == (5, 1, 5, 0)
    assert record.n_episodes == len(record.accuracies) == EPISODES
    assert record.method["name"] == "protonet" and record.method["distribution"].startswith("fewbench")
    assert record.method["source_sha256"] == registry.source_sha256(ProtoNet)
    assert record.environment["device"] == "cpu"
    interval = t_interval(record.accuracies)
    assert (record.mean, record.half_width) == (interval.mean, interval.half_width)
    assert 0.2 < record.mean < 1 and 0 < record.accuracies.std()
    assert record.timing["total_seconds"] >= record.timing["classify_seconds"] > 0


def nearest_mean(features: np.ndarray, batch: Any, i: int) -> float:
    """Accuracy of episode i, written without the library."""
    prototypes = np.array([features[batch.support[i][batch.support_labels[i] == c]].mean(axis=0) for c in range(5)])
    distances = ((features[batch.query[i]][:, None].astype(np.float64) - prototypes) ** 2).sum(axis=2)
    return float((distances.argmin(axis=1) == batch.query_labels[i]).mean())


def test_accuracies_are_those_of_the_episodes_computed_by_hand(config: RunConfig, tiny: str, tiny_weights: Path):
    from fewbench.benchmark.backbones.loading import load_backbone

    record = run(replace(config, shots=3))
    split = registry.load(registry.find("datasets", tiny))().split("test")
    table, _ = feature_table(load_backbone("conv4", {}, tiny_weights), split, torch.device("cpu"), SILENT)
    sampler = UniformSampler(split.offsets, 0, 5, 3, 5)
    batch = sampler.draw(0, EPISODES)
    expected = [nearest_mean(table.features, batch, i) for i in range(EPISODES)]
    np.testing.assert_allclose(record.accuracies, expected)
    disjoint = sampler.disjoint_episodes()
    assert disjoint is not None
    expected = [nearest_mean(table.features, disjoint, i) for i in range(len(disjoint))]
    apart = record.accuracy["without_replacement"]
    assert (apart["episodes"], apart["mean"]) == (len(disjoint), pytest.approx(np.mean(expected)))


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
    config: RunConfig, stopped_at, episode: int, seconds: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "FLUSH_SECONDS", seconds)
    undisturbed = content(runner.run(replace(config, output=config.output / "undisturbed"), SILENT).path)
    stopped_at(episode, KeyboardInterrupt())
    done = episode // CHUNK * CHUNK
    with pytest.raises(
        runner.Interrupted, match=f"^interrupted after {done} of {EPISODES} episodes; the same command"
    ) as caught:
        runner.run(config, SILENT)
    assert caught.value.exit_code == 130
    (partial,) = (path for path in files(config) if "undisturbed" not in path.parts)
    assert partial.name.endswith(".partial.json")
    assert (load_record(partial).status, load_record(partial).n_episodes) == ("partial", done)
    stopped_at(None)
    messages = Messages()
    outcome = runner.run(config, messages)
    assert messages.said == [f"resuming after {done} of {EPISODES} episodes"]
    assert not outcome.reused and not partial.exists()
    assert content(outcome.path) == undisturbed


def test_several_interruptions_end_in_the_same_record(config: RunConfig, stopped_at):
    undisturbed = content(runner.run(replace(config, output=config.output / "undisturbed"), SILENT).path)
    left = []
    for _ in range(3):
        stopped_at(CHUNK, KeyboardInterrupt())
        with pytest.raises(runner.Interrupted):
            runner.run(config, SILENT)
        left += [load_record(path) for path in config.output.glob("records/**/*.partial.json")]
    assert [record.n_episodes for record in left] == [CHUNK, 2 * CHUNK, 3 * CHUNK]
    seconds = [record.timing["total_seconds"] for record in left]
    assert seconds == sorted(seconds)  # the time of all attempts
    stopped_at(None)
    assert content(runner.run(config, SILENT).path) == undisturbed


def test_ctrl_c_before_the_first_chunk_leaves_nothing(config: RunConfig, stopped_at):
    stopped_at(0, KeyboardInterrupt())
    with pytest.raises(runner.Interrupted, match=f"^interrupted after 0 of {EPISODES} episodes$"):
        runner.run(config, SILENT)
    assert files(config) == []


def test_ctrl_c_right_after_resuming_keeps_what_was_there(config: RunConfig, stopped_at):
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(runner.Interrupted):
        runner.run(config, SILENT)
    (partial,) = files(config)
    before = partial.read_bytes()
    stopped_at(0, KeyboardInterrupt())
    with pytest.raises(runner.Interrupted, match=f"^interrupted after {2 * CHUNK} of"):
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
    with pytest.raises(runner.Interrupted, match=r"^interrupted after 128 of \d+ episodes; the same command starts anew"):
        runner.run(replace(config, overwrite=True), SILENT)
    assert first.path.read_bytes() == before


def test_an_error_after_an_interruption_keeps_a_resumable_state(config: RunConfig, stopped_at):
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(runner.Interrupted):
        runner.run(config, SILENT)
    stopped_at(CHUNK, RuntimeError("out of luck"))
    with pytest.raises(UserError):
        runner.run(config, SILENT)
    (partial,) = files(config)
    assert load_record(partial).n_episodes in (2 * CHUNK, 3 * CHUNK)


def test_a_limited_run_is_partial_and_goes_on_to_the_full_one(config: RunConfig):
    full = content(runner.run(replace(config, output=config.output / "full"), SILENT).path)
    limited = runner.run(replace(config, limit=100), SILENT)
    assert (limited.record.status, limited.record.n_episodes) == ("partial", 100)
    assert limited.path.name.endswith(".partial.json") and limited.path.exists()
    assert runner.run(replace(config, limit=100), SILENT).reused
    assert runner.run(replace(config, limit=50), SILENT).reused
    messages = Messages()
    more = runner.run(replace(config, limit=200), messages)
    assert (more.reused, more.record.n_episodes, more.path) == (False, 200, limited.path)
    outcome = runner.run(config, messages)
    assert outcome.record.complete and not limited.path.exists()
    assert content(outcome.path) == full
    # Chunks lie on a fixed grid, so that a method sees the same batches as in an undisturbed run.
    assert messages.said == [f"resuming after {whole} of {EPISODES} episodes" for whole in (64, 192)]


def test_the_first_episodes_of_many_are_the_few(config: RunConfig):
    many, few = run(config), run(replace(config, episodes=2 * CHUNK))
    np.testing.assert_array_equal(few.accuracies, many.accuracies[: 2 * CHUNK])
    assert few.task_key() == many.task_key()


def test_a_limit_above_the_episodes_is_no_limit(config: RunConfig):
    outcome = runner.run(replace(config, limit=EPISODES + 1), SILENT)
    assert outcome.record.complete and outcome.record.n_episodes == EPISODES


def test_a_partial_record_of_other_code_is_not_continued(config: RunConfig, monkeypatch: pytest.MonkeyPatch):
    partial = runner.run(replace(config, limit=CHUNK), SILENT).path
    monkeypatch.setattr(registry, "source_sha256", lambda cls: "0" * 64)
    messages = Messages()
    outcome = runner.run(config, messages)
    assert outcome.record.complete and outcome.record.method["source_sha256"] == "0" * 64
    assert not any("resuming" in message for message in messages.said)
    assert not partial.exists()


def test_a_finished_record_of_other_code_is_told(config: RunConfig, monkeypatch: pytest.MonkeyPatch):
    runner.run(config, SILENT)
    monkeypatch.setattr(registry, "source_sha256", lambda cls: "0" * 64)
    messages = Messages()
    assert runner.run(config, messages).reused
    assert len(messages.said) == 1 and "another version of protonet's code; --overwrite" in messages.said[0]


@pytest.mark.parametrize("partial", [False, True])
def test_a_damaged_record_is_told_and_made_again(config: RunConfig, partial: bool):
    expected = content(runner.run(replace(config, output=config.output / "undamaged"), SILENT).path)
    path = runner.run(replace(config, limit=CHUNK if partial else None), SILENT).path
    path.write_bytes(path.read_bytes()[:-100])
    messages = Messages()
    outcome = runner.run(config, messages)
    assert not outcome.reused and content(outcome.path) == expected
    assert len(messages.said) == 1 and str(path) in messages.said[0] and "damaged" in messages.said[0]


def test_a_grid_makes_one_record_each(config: RunConfig):
    options = {**vars(config), "method": ["protonet", "chance"], "shots": [1, 5], "ways": [5, 10]}
    outcomes = [runner.run(one, SILENT) for one in grid(options)]
    assert len({outcome.path for outcome in outcomes}) == 8 == len(files(config))
    for outcome in outcomes:
        if outcome.record.method_name == "chance":
            np.testing.assert_allclose(outcome.record.accuracies, 1 / outcome.record.task["ways"])
    of_protonet = {
        (outcome.record.task["ways"], outcome.record.task["shots"]): outcome.record.mean
        for outcome in outcomes
        if outcome.record.method_name == "protonet"
    }
    assert of_protonet[5, 5] > of_protonet[5, 1] > of_protonet[10, 1]


def test_everything_that_changes_the_result_gives_another_record(config: RunConfig):
    config = replace(config, episodes=10)
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"episodes": 11},
        {"split": "val"},
        {"level": 0.99},
        {"bootstrap": True},
        {"method": "baseline++", "settings": {}},
        {"method": "ridge", "settings": {"dataset.noise": 30.0}},
        {"settings": {"dataset.noise": 30.0}},
    ]
    paths = {runner.run(replace(config, **change), SILENT).path for change in changes}
    assert len(paths) == len(changes)
    same = runner.run(replace(config, device="auto", settings={"dataset.noise": "60"}), SILENT)
    assert same.reused == (not torch.cuda.is_available())


def test_the_level_and_the_bootstrap_are_those_asked_for(config: RunConfig):
    record = run(replace(config, level=0.8, bootstrap=True))
    assert record.accuracy["level"] == 0.8
    assert record.half_width == t_interval(record.accuracies, 0.8).half_width
    bootstrap = record.accuracy["bootstrap"]
    assert bootstrap["low"] < record.mean < bootstrap["high"]
    assert run(config).accuracy["bootstrap"] is None


def test_varying_ways_and_shots(config: RunConfig):
    varying = replace(config, sampler="meta-dataset", settings={"sampler.max_support": "60"})
    record = run(varying)
    assert record.task["sampler_parameters"]["max_support"] == 60
    assert record.task["ways"] is record.task["shots"] is record.task["queries"] is None
    assert record.accuracy["without_replacement"] is None
    assert record.n_episodes == EPISODES and len(set(record.accuracies.tolist())) > 20
    chance = run(replace(varying, method="chance"))
    ways = np.unique(1 / chance.accuracies)
    np.testing.assert_allclose(ways, range(5, 13))  # 1 / ways, whatever the batch is padded to
    with pytest.raises(UsageError, match=r"sampler meta-dataset has no parameter 'max_way'; did you mean 'max_ways'\?"):
        run(replace(config, sampler="meta-dataset", settings={"sampler.max_way": "40"}))


def test_varying_episodes_resume_too(config: RunConfig, stopped_at):
    varying = replace(config, sampler="meta-dataset")
    undisturbed = content(runner.run(replace(varying, output=config.output / "undisturbed"), SILENT).path)
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(runner.Interrupted):
        runner.run(varying, SILENT)
    stopped_at(None)
    assert content(runner.run(varying, SILENT).path) == undisturbed


def test_a_method_on_images_uses_the_backbone(config: RunConfig, plugins: Path):
    few = replace(config, episodes=20)
    on_images = run(replace(few, method=f"{plugins / 'methods.py'}:OnImages"))
    on_features = run(replace(few, method=f"{plugins / 'methods.py'}:NearestMean"))
    np.testing.assert_allclose(on_images.accuracies, on_features.accuracies, atol=1 / 25)
    assert on_images.method["name"] == "methods.py:OnImages"


def test_a_method_that_uses_the_train_mean_gets_that_of_the_train_split(
    config: RunConfig, tiny: str, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
):
    from fewbench.benchmark.backbones.loading import load_backbone
    from fewbench.methods.simpleshot import SimpleShot

    means, classify = [], SimpleShot.classify
    monkeypatch.setattr(SimpleShot, "classify", lambda self, e: means.append(e.train_mean) or classify(self, e))
    run(replace(config, method="simpleshot"))
    train = registry.load(registry.find("datasets", tiny))().split("train")
    table, _ = feature_table(load_backbone("conv4", {}, tiny_weights), train, torch.device("cpu"), SILENT)
    expected = torch.from_numpy(np.array(table.features)).mean(dim=0)
    torch.testing.assert_close(means[0], expected)


def test_parameters_reach_the_method_and_the_record(config: RunConfig, plugins: Path, monkeypatch: pytest.MonkeyPatch):
    name = f"{plugins / 'methods.py'}:NearestMean"
    made: list[Any] = []
    cls = registry.load(registry.find("methods", name))
    classify = cls.classify  # type: ignore[attr-defined]
    monkeypatch.setattr(cls, "classify", lambda self, episodes: made.append(self) or classify(self, episodes))
    record = run(replace(config, method=name, episodes=10, settings={"power": "0.5"}))
    assert made[0].power == 0.5 and isinstance(made[0], Method)
    assert (record.method["parameters"], record.method["changed"]) == ({"power": 0.5}, ["power"])
    assert record.method["distribution"] == "methods.py"


def test_a_record_names_no_folder_of_the_machine(config: RunConfig, plugins: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["bench", "run"])
    outcome = runner.run(replace(config, method=f"{plugins / 'methods.py'}:NearestMean", episodes=10), SILENT)
    assert str(plugins) not in outcome.path.read_text()
    assert outcome.record.task["dataset"] == "tiny.py:Tiny"
    assert "tiny.py-Tiny" in outcome.path.relative_to(config.output).as_posix()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ways": 13}, "--ways 13: this split has only 12 classes"),
        ({"shots": 26}, "--shots 26 and --queries 5 need 31 images a class, but the smallest class of this split has 30"),
        ({"split": "tset"}, "unknown split 'tset'; did you mean 'test'"),
        ({"method": "protonett"}, "unknown method 'protonett'; did you mean 'protonet'"),
        ({"dataset": "omniglott"}, "unknown dataset 'omniglott'; did you mean 'omniglot'"),
        ({"backbone": "conv5"}, "unknown backbone 'conv5'; did you mean 'conv4'"),
        ({"sampler": "uniformly"}, "unknown sampler 'uniformly'; did you mean 'uniform'"),
        ({"settings": {"power": 1}}, "method protonet has no parameter 'power'; it has none"),
        ({"settings": {"dataset.nois": 1}}, "dataset .*Tiny has no parameter 'nois'"),
        ({"settings": {"backbone.widt": 1}}, "backbone conv4 has no parameter 'widt'"),
        ({"weights": None}, "no conv4 weights pretrained on .*Tiny are shipped; take others with --weights"),
        ({"device": "tpu"}, "--device tpu: unknown; take auto, cpu or cuda"),
    ],
)
def test_what_cannot_run_is_one_line_and_leaves_nothing(config: RunConfig, change: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message) as caught:
        run(replace(config, **change))
    assert "\n" not in str(caught.value)
    assert files(config) == []


def test_an_output_that_cannot_be_written_is_told_before_the_work(config: RunConfig, stopped_at, tmp_path: Path):
    stopped_at(0, AssertionError("nothing may be classified"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot create folder .*file"):
        run(replace(config, output=tmp_path / "file"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission_is_told_before_the_work(config: RunConfig, stopped_at, tmp_path: Path):
    stopped_at(0, AssertionError("nothing may be classified"))
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"cannot create folder .*locked.*Permission denied"):
        run(replace(config, output=tmp_path / "locked"))
