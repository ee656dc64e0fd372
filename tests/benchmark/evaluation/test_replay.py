from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark import RunConfig, run
from fewbench.benchmark.backbones.weights.checkpoint import write_checkpoint
from fewbench.benchmark.backbones.weights.description import Description
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.evaluation.replay import config_of, replay
from fewbench.benchmark.records.record import RunRecord, accuracy_section
from fewbench.benchmark.training.meta.meta_training import meta_train
from fewbench.benchmark.training.meta.train_config import TrainConfig
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.testbed import make_testbed
from fewbench.tasks.testbed_files import write_testbed

EPISODES = 70


@pytest.fixture(scope="module")
def distances(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV matrix for the test classes of `tiny`: those of near numbers are near."""
    path = tmp_path_factory.mktemp("distances") / "distances.csv"
    names = [f"test-{number}" for number in range(12)]
    rows = [[name, *(str(abs(i - j)) for j in range(12))] for i, name in enumerate(names)]
    path.write_text("\n".join(",".join(row) for row in [["", *names], *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty tasks on the test classes of `tiny`."""
    path = tmp_path_factory.mktemp("testbed") / "tiny.parquet"
    far = 1.0 - np.eye(12)
    drawn = make_testbed(np.arange(13) * 30, far, ways=3, shots=2, queries=4, tasks=40, alpha=0.1, beta=1.0, seed=5)
    write_testbed(path, drawn)
    return path


@pytest.fixture(scope="module")
def recorded(tiny: str, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory):
    """A function that runs a method on `tiny` and gives the record."""
    output = tmp_path_factory.mktemp("results")

    def make(method: str = "protonet", **options) -> RunRecord:
        common = {"dataset": tiny, "weights": str(tiny_weights), "queries": 5, "episodes": EPISODES, "device": "cpu"}
        return run(RunConfig(method=method, results=output, **{**common, **options}))

    return make


@pytest.fixture
def files(tiny: str, tiny_weights: Path) -> dict[str, str]:
    """Where the files are that a record only names."""
    return {"dataset": tiny, "weights": str(tiny_weights)}


@pytest.mark.parametrize("index", [0, 1, EPISODES - 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "ridge", "shots": 5, "seed": 3, "settings": {"dataset.noise": 20.0}},
        {"method": "simpleshot", "settings": {"transform": "cl2n"}},
        {"sampler": "meta-dataset", "queries": 15},
        {"method": "ridge", "corruption": "occlusion", "severity": 4},
        {"sampler": "imbalanced", "shots": 4, "settings": {"sampler.concentration": 0.5}},
    ],
    ids=lambda options: options.get("sampler", options.get("method", "protonet")),
)
def test_the_answers_have_the_accuracy_of_the_record(recorded, files, options, index, listener):
    record = recorded(**options)
    found = replay(config_of(files, {}, record), index, record, listener)
    assert found.answers is not None
    right = found.answers.predicted == found.episode.query_labels
    assert right.mean() == pytest.approx(record.accuracies[index])
    assert found.answers.credit.mean() == pytest.approx(record.accuracies[index])
    assert not listener.said


def test_a_method_on_images_from_a_file_is_found_again(recorded, files, plugins):
    name = f"{plugins / 'methods.py'}:OnImages"
    record = recorded(name, episodes=3)
    found = replay(config_of({**files, "method": name}, {}, record), 2, record, SILENT)
    assert found.answers is not None
    assert found.answers.credit.mean() == pytest.approx(record.accuracies[2])


def test_a_semantic_task_is_drawn_again_from_its_parameters(recorded, files, distances):
    settings = {"sampler.distances": str(distances)}
    record = recorded(sampler="semantic", settings={**settings, "sampler.alpha": 0.2})
    found = replay(config_of(files, settings, record), 7, record, SILENT)
    assert found.answers is not None
    assert found.answers.credit.mean() == pytest.approx(record.accuracies[7])
    with pytest.raises(UsageError, match="--index 40: the task has 40 episodes"):
        task = config_of({**files, "sampler": "semantic", "episodes": 40}, settings)
        replay(task, 40, None, SILENT)


def test_corrupted_images_have_the_episodes_of_a_testbed_on_the_clean_ones(recorded, files, testbed):
    clean, record = recorded(testbed=testbed), recorded(testbed=testbed, corruption="noise", severity=5)
    assert record.task.episodes_sha256 == clean.task.episodes_sha256
    assert record.task.fingerprint != clean.task.fingerprint
    with pytest.raises(UsageError, match="--corruption noise: the record has none; leave the option out"):
        config_of({**files, "testbed": testbed, "corruption": "noise", "severity": 5}, {}, clean)
    found = replay(config_of({**files, "testbed": testbed}, {}, record), 3, record, SILENT)
    assert found.answers is not None
    assert found.answers.credit.mean() == pytest.approx(record.accuracies[3])


def test_what_a_method_learned_is_found_again(recorded, tiny, tmp_path, listener):
    config = TrainConfig(
        "meta-baseline", tiny, ways=4, queries=3, steps=2, validate_every=2, val_episodes=20, learning_rate=1.0,
        settings={"backbone.width": 8},
    )  # fmt: skip
    path = str(meta_train(config, tmp_path / "trained.safetensors", SILENT))
    record = recorded("meta-baseline", weights=None, checkpoint=path)
    found = replay(config_of({"dataset": tiny, "weights": path}, {}, record), 4, record, listener)
    assert found.answers is not None and not listener.said
    assert found.answers.credit.mean() == pytest.approx(record.accuracies[4])
    with pytest.raises(UsageError, match="method was meta-trained; name its checkpoint with --weights"):
        config_of({"dataset": tiny}, {}, record)


def test_class_names_of_a_file_are_found_again(tiny, tmp_path):
    names = tmp_path / "names.csv"
    rows = [f"test-{number},thing {number}" for number in range(12)]
    names.write_text("\n".join(["class_id,name", *rows]) + "\n", encoding="utf-8")
    options = {"dataset": tiny, "weights": "clip-tiny-trifeature"}
    record = run(RunConfig("clip-zero-shot", **options, class_names=names, queries=5, episodes=20, results=tmp_path))
    assert replay(config_of({**options, "class_names": names}, {}, record), 2, record, SILENT).answers is not None
    with pytest.raises(UserError, match="class names are not those of the record; name their files with --prompts and"):
        replay(config_of(options, {}, record), 2, record, SILENT)


def test_a_testbed_is_found_again(recorded, files, testbed):
    record = recorded(testbed=testbed)
    assert record.n_episodes == 40
    found = replay(config_of({**files, "testbed": testbed}, {}, record), 39, record, SILENT)
    assert found.answers is not None
    assert found.answers.credit.mean() == pytest.approx(record.accuracies[39])
    with pytest.raises(UsageError, match=r"^the record was made on a testbed; name its file with --testbed$"):
        config_of(files, {}, record)


def test_another_testbed_is_refused(recorded, files, testbed, tmp_path):
    record = recorded(testbed=testbed)
    far = 1.0 - np.eye(12)
    other = make_testbed(np.arange(13) * 30, far, ways=3, shots=2, queries=4, tasks=40, alpha=0.1, beta=1.0, seed=6)
    write_testbed(tmp_path / "other.parquet", other)
    config = config_of({**files, "testbed": tmp_path / "other.parquet"}, {}, record)
    with pytest.raises(UserError, match=r"^this task is not that of the record: sampler parameters "):
        replay(config, 0, record, SILENT)


def test_without_a_record_the_episode_needs_no_weights(tiny):
    found = replay(config_of({"dataset": tiny, "ways": 3, "shots": 2, "queries": 4}, {}), 12_345, None, SILENT)
    assert found.answers is None
    assert (found.episode.support.shape, found.episode.query.shape) == ((1, 6), (1, 12))
    assert found.task.key.dataset == "tiny.py:Tiny"
    again = found.task.sampler.draw(12_000, 13_000)[345:346]
    assert again.as_bytes() == found.episode.as_bytes()


def test_an_episode_of_varying_shape_has_no_padding(tiny):
    found = replay(config_of({"dataset": tiny, "sampler": "meta-dataset"}, {}), 3, None, SILENT)
    assert (found.episode.support_labels >= 0).all() and (found.episode.query_labels >= 0).all()


@pytest.mark.parametrize(
    ("index", "message"), [(-1, "from 0 to 1,000,000,000"), (EPISODES, "the record has 70 episodes, counted from 0")]
)
def test_an_index_out_of_range_is_refused(recorded, files, index, message):
    record = recorded()
    with pytest.raises(UsageError) as caught:
        replay(config_of(files, {}, record), index, record, SILENT)
    assert str(caught.value) == f"--index {index}: {message}"


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        ({"shots": 5}, {}, "--shots 5: the record has 1; leave the option out"),
        ({"sampler": "meta-dataset"}, {}, "--sampler meta-dataset: the record has uniform; leave the option out"),
        ({"dataset": "omniglot"}, {}, "--dataset omniglot: the record has tiny.py:Tiny; leave the option out"),
        ({}, {"dataset.noise": "1"}, "--set dataset.noise: the record has 60.0; leave it out"),
        ({}, {"distance": "cosine"}, "--set distance: an episode takes parameters of dataset. and sampler. alone"),
    ],
)
def test_what_contradicts_the_record_is_refused(recorded, options, settings, message):
    with pytest.raises(UsageError) as caught:
        config_of(options, settings, recorded())
    assert str(caught.value) == message


def test_a_record_of_varying_shape_has_no_ways(recorded):
    record = recorded(sampler="meta-dataset", queries=15)
    with pytest.raises(UsageError, match=r"^--ways 5: the record has varying ways; leave the option out$"):
        config_of({"ways": 5}, {}, record)


def test_weights_that_are_not_there_are_asked_for(recorded, tiny):
    record = recorded()
    with pytest.raises(UsageError, match=r"^--weights tiny: no such file and no shipped weights"):
        replay(config_of({"dataset": tiny}, {}, record), 0, record, SILENT)


def test_other_weights_are_refused(recorded, tiny, tiny_weights, tmp_path):
    record, backbone = recorded(), load_backbone("conv4", {}, tiny_weights)
    about = Description("conv4", {"width": 8}, backbone.preprocess, backbone.pretraining)
    next(backbone.module.parameters()).mul_(2)
    write_checkpoint(tmp_path / "tiny.safetensors", backbone.module.state_dict(), about)
    config = config_of({"dataset": tiny, "weights": str(tmp_path / "tiny.safetensors")}, {}, record)
    with pytest.raises(UserError, match=r"^weights tiny are not those of the record"):
        replay(config, 0, record, SILENT)


def test_other_images_are_refused(recorded, files, altered):
    record = recorded()
    other = altered(record, task={"fingerprint": "0" * 64})
    with pytest.raises(UserError, match=r"^this task is not that of the record: fingerprint [0-9a-f]{64} and 0{64}$"):
        replay(config_of(files, {}, other), 0, other, SILENT)


def test_other_episodes_are_refused(recorded, files, altered):
    record = recorded()
    other = altered(record, task={"episodes_sha256": "0" * 64})
    with pytest.raises(UserError, match="are no longer those of its task"):
        replay(config_of(files, {}, other), 0, other, SILENT)


def test_an_accuracy_that_does_not_agree_is_told(recorded, files, altered, listener):
    record = recorded()
    changed = record.accuracies.copy()
    changed[3] = 0.125
    other = altered(record, accuracy=accuracy_section(changed))
    found = replay(config_of(files, {}, other), 3, other, listener)
    now = f"{100 * record.accuracies[3]:.2f} %"
    assert listener.said == [f"warning: the record says 12.50 % for episode 3, its method answers {now} now"]
    assert found.answers is not None
