import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewbench.benchmark import RunConfig, registry, run
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.config import grid
from fewbench.benchmark.evaluation import runner
from fewbench.benchmark.evaluation.evaluate import CHUNK
from fewbench.benchmark.features.table import feature_table
from fewbench.benchmark.records.codec import decode
from fewbench.benchmark.records.identity import task_of
from fewbench.benchmark.records.statistics import t_interval
from fewbench.benchmark.records.store import load_record
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.methods.base import Method
from fewbench.methods.linear.distribution_calibration import DistributionCalibration
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.methods.metric.simpleshot import SimpleShot
from fewbench.tasks.episodes import digest
from fewbench.tasks.samplers import UniformSampler

EPISODES = 340  # of `config`


def files(config: RunConfig) -> list[Path]:
    return sorted(path for path in config.results.rglob("*") if path.is_file())


def test_a_record_says_what_was_done(config: RunConfig, tiny: str, tiny_weights: Path):
    outcome = runner.run(config, SILENT)
    record = outcome.record
    assert not outcome.reused and record.complete
    assert files(config) == [outcome.path]
    assert load_record(outcome.path).to_json() == record.to_json()
    split = registry.load(registry.find("datasets", tiny))().split("test")
    sampler = UniformSampler(split.offsets, 0, 5, 1, 5)
    task = record.task
    assert task.fingerprint == split.fingerprint
    assert task.episodes_sha256 == digest([sampler.draw(0, EPISODES)])
    assert (task.ways, task.shots, task.queries, task.seed) == (5, 1, 5, 0)
    assert record.n_episodes == len(record.accuracies) == EPISODES
    assert record.method.name == "protonet" and record.method.distribution.startswith("fewbench")
    assert record.method.code == record.task.code == "version 1"
    assert record.environment.device == "cpu"
    interval = t_interval(record.accuracies)
    assert (record.mean, record.half_width) == (interval.mean, interval.half_width)
    assert 0.2 < record.mean < 1 and 0 < record.accuracies.std()
    timing = record.timing
    assert timing.classify_seconds > 0 and record.accuracy.without_replacement is not None
    assert timing.total_seconds >= timing.classify_seconds + timing.disjoint_seconds
    backbone = load_backbone("conv4", {}, Path(tiny_weights))
    assert record.backbone.code == backbone.code


def nearest_mean(features: np.ndarray, batch: Any, i: int) -> float:
    """Accuracy of episode i, written without the library."""
    prototypes = np.array([features[batch.support[i][batch.support_labels[i] == c]].mean(axis=0) for c in range(5)])
    distances = ((features[batch.query[i]][:, None].astype(np.float64) - prototypes) ** 2).sum(axis=2)
    return float((distances.argmin(axis=1) == batch.query_labels[i]).mean())


def test_accuracies_are_those_of_the_episodes_computed_by_hand(config: RunConfig, tiny: str, tiny_weights: Path):
    record = run(replace(config, shots=3))
    split = registry.load(registry.find("datasets", tiny))().split("test")
    table = feature_table(load_backbone("conv4", {}, tiny_weights), split, torch.device("cpu"), SILENT)
    sampler = UniformSampler(split.offsets, 0, 5, 3, 5)
    batch = sampler.draw(0, EPISODES)
    expected = [nearest_mean(table.features, batch, i) for i in range(EPISODES)]
    np.testing.assert_allclose(record.accuracies, expected)
    disjoint = sampler.disjoint_episodes()
    assert disjoint is not None
    expected = [nearest_mean(table.features, disjoint, i) for i in range(len(disjoint))]
    apart = record.accuracy.without_replacement
    assert (apart.episodes, apart.mean) == (len(disjoint), pytest.approx(np.mean(expected)))


def test_a_limit_above_the_episodes_is_no_limit(config: RunConfig):
    outcome = runner.run(replace(config, limit=EPISODES + 1), SILENT)
    assert outcome.record.complete and outcome.record.n_episodes == EPISODES


def test_the_first_episodes_of_many_are_the_few(config: RunConfig):
    many, few = run(config), run(replace(config, episodes=CHUNK))
    np.testing.assert_array_equal(few.accuracies, many.accuracies[:CHUNK])
    assert task_of(few) == task_of(many)


def test_a_grid_makes_one_record_each(config: RunConfig):
    options = {**vars(config), "method": ["protonet", "chance"], "shots": [1, 5], "ways": [5, 10]}
    outcomes = [runner.run(one, SILENT) for one in grid(options)]
    assert len({outcome.path for outcome in outcomes}) == 8 == len(files(config))
    for outcome in outcomes:
        if outcome.record.method.name == "chance":
            np.testing.assert_allclose(outcome.record.accuracies, 1 / outcome.record.task.ways)
    of_protonet = {
        (outcome.record.task.ways, outcome.record.task.shots): outcome.record.mean
        for outcome in outcomes
        if outcome.record.method.name == "protonet"
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
    assert record.accuracy.level == 0.8
    assert record.half_width == t_interval(record.accuracies, 0.8).half_width
    bootstrap = record.accuracy.bootstrap
    assert bootstrap.low < record.mean < bootstrap.high
    assert run(config).accuracy.bootstrap is None


def test_varying_ways_and_shots(config: RunConfig):
    varying = replace(config, sampler="meta-dataset", settings={"sampler.max_support": "60"})
    record = run(varying)
    assert record.task.sampler_parameters["max_support"] == 60
    assert record.task.ways is record.task.shots is record.task.queries is None
    assert record.accuracy.without_replacement is None
    assert record.n_episodes == EPISODES and len(set(record.accuracies.tolist())) > 20
    chance = run(replace(varying, method="chance"))
    ways = np.unique(1 / chance.accuracies)
    np.testing.assert_allclose(ways, range(5, 13))  # 1 / ways, whatever the batch is padded to
    with pytest.raises(UsageError, match=r"sampler meta-dataset has no parameter 'max_way'; did you mean 'max_ways'\?"):
        run(replace(config, sampler="meta-dataset", settings={"sampler.max_way": "40"}))


def test_a_method_on_images_uses_the_backbone(config: RunConfig, plugins: Path):
    few = replace(config, episodes=20)
    on_images = run(replace(few, method=f"{plugins / 'methods.py'}:OnImages"))
    on_features = run(replace(few, method=f"{plugins / 'methods.py'}:NearestMean"))
    np.testing.assert_allclose(on_images.accuracies, on_features.accuracies, atol=1 / 25)
    assert on_images.method.name == "methods.py:OnImages"


def test_a_method_on_images_gets_the_first_of_the_episodes_that_share_no_image(config: RunConfig, plugins: Path):
    many = replace(config, episodes=60, ways=2, queries=1)
    images, features = (run(replace(many, method=f"{plugins / 'methods.py'}:{name}")) for name in ("OnImages", "NearestMean"))
    few = run(replace(many, episodes=8, method=f"{plugins / 'methods.py'}:OnImages"))
    assert few.accuracy.without_replacement.episodes == 8  # no more than of the others
    apart, all_apart = (record.accuracy.without_replacement for record in (images, features))
    assert (apart.episodes, all_apart.episodes) == (runner.DISJOINT_ON_IMAGES, 6 * 15)  # 12 classes of 15 hands
    found, expected = (decode(each.accuracies, each.episodes) for each in (apart, all_apart))
    assert (found == expected[: len(found)]).mean() > 0.9 and len(set(expected.tolist())) > 1


def test_a_method_that_uses_the_train_mean_gets_that_of_the_train_split(
    config: RunConfig, tiny: str, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
):
    means, classify = [], SimpleShot.classify
    monkeypatch.setattr(SimpleShot, "classify", lambda self, e: means.append(e.train_mean) or classify(self, e))
    run(replace(config, method="simpleshot"))
    train = registry.load(registry.find("datasets", tiny))().split("train")
    table = feature_table(load_backbone("conv4", {}, tiny_weights), train, torch.device("cpu"), SILENT)
    expected = torch.from_numpy(np.array(table.features)).mean(dim=0)
    torch.testing.assert_close(means[0], expected)


def test_a_method_that_uses_train_classes_gets_those_of_the_train_split(
    config: RunConfig, tiny: str, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
):
    seen, classify = [], DistributionCalibration.classify
    monkeypatch.setattr(DistributionCalibration, "classify", lambda self, e: seen.append(e.train_classes) or classify(self, e))
    run(replace(config, method="distribution-calibration", episodes=4, settings={"samples": 10}, features="l2"))
    train = registry.load(registry.find("datasets", tiny))().split("train")
    features = np.array(feature_table(load_backbone("conv4", {}, tiny_weights), train, torch.device("cpu"), SILENT).features)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    first, stop = int(train.offsets[1]), int(train.offsets[2])
    np.testing.assert_allclose(seen[0].features_of(1), features[first:stop], rtol=1e-5, atol=1e-6)
    assert seen[0].means.shape == (len(train.offsets) - 1, features.shape[1]) and seen[0].means.dtype == torch.float64
    np.testing.assert_allclose(seen[0].means[1], features[first:stop].mean(axis=0), rtol=1e-4, atol=1e-6)


def test_parameters_reach_the_method_and_the_record(config: RunConfig, plugins: Path, monkeypatch: pytest.MonkeyPatch):
    name = f"{plugins / 'methods.py'}:NearestMean"
    made: list[Any] = []
    cls = registry.load(registry.find("methods", name))
    classify = cls.classify  # type: ignore[attr-defined]
    monkeypatch.setattr(cls, "classify", lambda self, episodes: made.append(self) or classify(self, episodes))
    record = run(replace(config, method=name, episodes=10, settings={"power": "0.5"}))
    assert made[0].power == 0.5 and isinstance(made[0], Method)
    assert (record.method.parameters, record.method.changed) == ({"power": 0.5}, ("power",))
    assert record.method.distribution == "methods.py"


def test_a_record_names_no_folder_of_the_machine(config: RunConfig, plugins: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["bench", "run"])
    outcome = runner.run(replace(config, method=f"{plugins / 'methods.py'}:NearestMean", episodes=10), SILENT)
    assert str(plugins) not in outcome.path.read_text()
    assert outcome.record.task.dataset == "tiny.py:Tiny"
    assert "tiny.py-Tiny" in outcome.path.relative_to(config.results).as_posix()


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
        ({"settings": {"power": 1}}, "method protonet has no parameter 'power'; it has distance"),
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


@pytest.fixture
def never_classifies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work would show."""

    def classify(self: ProtoNet, episodes: object) -> torch.Tensor:
        raise AssertionError("nothing may be classified")

    monkeypatch.setattr(ProtoNet, "classify", classify)


@pytest.mark.usefixtures("never_classifies")
def test_an_output_that_cannot_be_written_is_told_before_the_work(config: RunConfig, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^cannot write to .*file is a file$"):
        run(replace(config, results=tmp_path / "file"))


@pytest.mark.usefixtures("never_classifies")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission_is_told_before_the_work(config: RunConfig, tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"cannot create folder .*locked.*Permission denied"):
        run(replace(config, results=tmp_path / "locked"))
