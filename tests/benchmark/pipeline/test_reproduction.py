import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fewbench.benchmark import registry
from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.weights.description import Description, MadeBy, MetaTrained
from fewbench.benchmark.config import RunConfig
from fewbench.benchmark.evaluation.plan import make_method
from fewbench.benchmark.pipeline.reproduction import (
    Comparison,
    all_reproductions,
    compare,
    description,
    load,
    names,
    weights_file,
)
from fewbench.benchmark.pipeline.stages import Pipeline, PipelineRun, Target
from fewbench.benchmark.records.answerer import Pretraining
from fewbench.benchmark.training.meta.train_config import TrainConfig
from fewbench.core.errors import UsageError

SHIPPED = all_reproductions()


@dataclass(frozen=True)
class Measured:
    """As much of a record as a comparison needs."""

    mean: float
    half_width: float | None


def compared(published: float | None, interval: float | None, mean: float, half_width: float | None = 0.003) -> Comparison:
    record: Any = Measured(mean, half_width)
    pipeline: Any = None
    return Comparison(pipeline, PipelineRun(RunConfig(), "train", Target(published, interval)), None, record)


@pytest.mark.parametrize(
    ("published", "interval", "mean", "verdict"),
    [
        (98.8, None, 0.985, "within"),  # 0.3 points below, and ours alone is ± 0.3
        (98.8, None, 0.9849, "below"),
        (98.8, 0.4, 0.9831, "within"),  # the root of 0.3² + 0.4² is 0.5
        (98.8, 0.4, 0.9829, "below"),
        (98.8, 0.4, 0.9929, "within"),
        (98.8, 0.4, 0.9931, "above"),
        (None, None, 0.98, None),
    ],
)
def test_verdicts(published: float | None, interval: float | None, mean: float, verdict: str | None):
    assert compared(published, interval, mean + 1e-9 if verdict == "within" and interval is None else mean).verdict == verdict


def test_the_difference_is_in_points_and_the_intervals_add_as_squares():
    one = compared(98.8, 0.4, 0.98)
    assert one.difference == pytest.approx(-0.8) and one.combined == pytest.approx(math.hypot(0.3, 0.4))
    assert compared(98.8, None, 0.98).combined == pytest.approx(0.3)


def test_one_episode_has_no_interval_and_no_verdict():
    one = compared(98.8, 0.4, 1.0, None)
    assert (one.combined, one.verdict) == (None, None) and one.difference == pytest.approx(1.2)


def test_without_weights_nothing_was_run(reproductions: Path, tmp_path: Path):
    pipeline = load("quick")
    found = compare(pipeline, tmp_path)
    assert [one.run for one in found] == list(pipeline.runs)
    assert all(one.about is None and one.record is None and one.verdict is None for one in found)
    path = weights_file(pipeline, "train", tmp_path)
    path.parent.mkdir()
    for file in (path.with_suffix(".json"), path):
        file.write_text("{", encoding="utf-8")
        assert compare(pipeline, tmp_path) == found
    assert compare(pipeline, tmp_path) == found


def test_the_omniglot_table_and_conv4_on_mini_imagenet_are_listed():
    of_omniglot = ("protonet", "maml", "fomaml", "matching-net", "relation-net", "r2d2")
    assert {f"{method}-omniglot" for method in of_omniglot} <= set(names())
    assert {f"{method}-mini-imagenet-{shots}shot" for method in ("protonet", "maml") for shots in (1, 5)} <= set(names())


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda pipeline: pipeline.name)
def test_a_shipped_one_names_what_exists_and_enough_test_episodes(pipeline: Pipeline):
    train = pipeline.train
    assert train is not None
    method, _ = make_method(train.method, train.settings_of("method"))
    assert method.meta_trained and registry.knows("datasets", train.dataset) and registry.knows("backbones", train.backbone)
    for run in pipeline.runs:
        assert run.config.split == "test" and registry.knows("datasets", run.config.dataset)
        assert run.config.episodes >= (600 if train.method == "pmf" else 1000)  # of which each is fine-tuned for seconds
        make_method(train.method, {**train.settings_of("method"), **run.config.settings_of("method")})
        if train.method in ("maml", "fomaml"):
            assert run.config.ways == train.ways


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda pipeline: pipeline.name)
def test_a_shipped_one_leaves_no_default_of_a_paper_open(pipeline: Pipeline):
    train = pipeline.train
    assert train is not None
    shape = ["shots"] if train.sampler == "meta-dataset" else ["ways", "shots", "queries"]
    for name in (*shape, "meta_batch", "steps", "optimizer", "learning_rate", "schedule"):
        assert getattr(train, name) is not None
    assert train.schedule != "step" or train.halve_every is not None


def test_a_file_becomes_options(reproductions: Path):
    pipeline = load("quick")
    assert pipeline.train is not None and pipeline.train == TrainConfig(
        "protonet",
        pipeline.train.dataset,
        ways=4,
        queries=3,
        steps=4,
        halve_every=2,
        validate_every=2,
        val_episodes=20,
        precision="fp32",
        settings={"backbone.width": 8},
    )
    one, two = (Comparison(pipeline, run) for run in pipeline.runs)
    assert (one.run.config.ways, one.run.config.shots, one.run.target) == (5, 1, Target(40.0, 3.0))
    assert (two.run.config.shots, two.run.target, two.task) == (2, Target(), "5-way 2-shot, 5 queries")
    assert weights_file(pipeline, "train", Path("r")) == Path("r/checkpoints/quick.safetensors")


def test_a_description_is_of_a_reproduction_where_all_that_it_states_is_the_same(reproductions: Path, tmp_path: Path):
    pipeline = load("quick")
    assert pipeline.train is not None
    path = weights_file(pipeline, "train", tmp_path).with_suffix(".json")
    path.parent.mkdir()
    config = {**vars(pipeline.train), "device": "cuda", "size": 28}
    config["settings"] = {"backbone.width": 8, "distance": "euclidean"}
    del config["jitter"]  # an option that was not there when the weights were made

    def is_of(**changed: Any) -> bool:
        made_by = MadeBy(config={**config, **changed})
        seen, method = Pretraining("", "", external=False), MetaTrained("protonet", {}, 5)
        about = Description("conv4", {}, Preprocess(1, 28, (0.0,), (1.0,)), seen, method, made_by, weights_sha256="")
        path.write_text(about.to_json(), encoding="utf-8")
        return description(pipeline, "train", tmp_path) is not None

    assert is_of()
    assert not is_of(steps=5) and not is_of(val_ways=4)
    assert not is_of(settings={"backbone.width": 16}) and not is_of(settings={})


def test_an_unknown_name_gets_the_nearest(reproductions: Path):
    with pytest.raises(UsageError, match=r"unknown reproduction 'quik'; did you mean 'quick'\?"):
        load("quik")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("summary", "sumary", r"\[published\]: unknown key 'sumary'; did you mean 'summary'"),
        ('summary = "ProtoNet on noise"', "", r"\[published\] lacks summary"),
        ("budget = ", "budget = 3 #", r"\[published\]: budget = 3: not text"),
        ("steps = 4", "stebs = 4", r"\[train\]: unknown key 'stebs'; did you mean 'steps'"),
        ('method = "protonet"', "", r"\[train\] lacks method"),
        ("published = 40.0", 'published = "high"', r"\[\[run\]\]: published = high: not a number"),
        ("shots = 1", "shots = [1, 5]", r"\[\[run\]\]: published is of one run; its lists make 2"),
        ("ways = 5", 'method = "ridge"', r"\[published\] needs \[train\], and \[\[run\]\] of the method that it trains"),
        ("[train]", "[pretrain]", r"\[pretrain\]: unknown key"),
        ("dataset =", 'after = "slow"\nweights = "w"\ndataset =', r"weights and after both"),
        ("budget", "budget = ", "is not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(old: str, new: str, says: str, reproductions: Path):
    path = reproductions / "quick.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UsageError, match=says) as caught:
        load("quick")
    assert "\n" not in str(caught.value) and "quick.toml" in str(caught.value)


def test_numbers_need_a_source(read):
    with pytest.raises(UsageError, match=r"published goes with a table \[published\]"):
        read("[train]\n[[run]]\npublished = 98\n")
