"""Records that a run finds: which are taken as they are, which are gone on with, and which are made again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.benchmark import RunConfig, registry
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, write_checkpoint
from fewbench.benchmark.evaluation import runner
from fewbench.core.progress import SILENT
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.distances import write_matrix
from fewbench.tasks.samplers import UniformSampler

from .conftest import CHUNK, EPISODES, content

pytestmark = pytest.mark.usefixtures("same_conditions")


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


@pytest.mark.parametrize("limit", [None, CHUNK], ids=["finished", "partial"])
def test_photos_that_have_changed_are_another_run(config: RunConfig, tmp_path: Path, limit: int | None, listener):
    photos, pixels = tmp_path / "photos", np.random.default_rng(0)

    def add(label: str, number: int) -> None:
        (photos / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(photos / label / f"{number}.png")

    for label in "abcde":
        for number in range(8):
            add(label, number)
    config = RunConfig(**{**vars(config), "dataset": "folder", "settings": {"dataset.root": str(photos)}})
    first = runner.run(replace(config, limit=limit), SILENT)
    assert runner.run(replace(config, limit=limit), SILENT).reused
    add("c", 3)
    again = runner.run(config, listener)
    fresh = runner.run(replace(config, results=config.results / "anew"), SILENT)
    assert not again.reused and content(again.path) == content(fresh.path)
    assert first.record.task.fingerprint != again.record.task.fingerprint
    consequence = "starting from the first episode" if limit else "it is made again"
    assert listener.said[0] == f"{first.path} may be of other images than those that are there now; {consequence}"


@pytest.mark.parametrize("limit", [None, CHUNK], ids=["finished", "partial"])
@pytest.mark.parametrize(("method", "beside"), [("simpleshot", "train"), ("linear-probe", "val")])
def test_images_of_another_split_that_have_changed_are_another_run(
    config: RunConfig, tmp_path: Path, method: str, beside: str, limit: int | None, listener
):
    pixels = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for label in "abcde":
            folder = tmp_path / "photos" / split / f"{split}-{label}"
            folder.mkdir(parents=True)
            for number in range(8):
                Image.fromarray(pixels.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    config = RunConfig(
        **{**vars(config), "dataset": "folder", "settings": {"dataset.root": str(tmp_path / "photos")}, "method": method}
    )
    first = runner.run(replace(config, limit=limit), SILENT)
    assert runner.run(replace(config, limit=limit), SILENT).reused
    Image.fromarray(np.full((16, 16, 3), 255, dtype=np.uint8)).save(tmp_path / "photos" / beside / f"{beside}-a" / "0.png")
    runner.run(replace(config, method="protonet"), SILENT)  # which looks at the test images, and finds them as they were
    again = runner.run(config, listener)
    fresh = runner.run(replace(config, results=config.results / "anew"), SILENT)
    assert not again.reused and content(again.path) == content(fresh.path)
    assert first.record.task.fingerprint == again.record.task.fingerprint
    assert again.record.task.beside is not None and {*again.record.task.beside} == {beside}
    assert first.record.task.beside != again.record.task.beside
    consequence = "starting from the first episode" if limit else "it is made again"
    assert listener.said[0] == f"{first.path} may be of other {beside} images than those that are there now; {consequence}"


def test_class_distances_that_have_changed_are_another_run(config: RunConfig, tmp_path: Path, listener):
    distances, ids = (
        tmp_path / "distances.csv",
        [one for one, _ in registry.make("datasets", config.dataset, {}).class_list("test")],
    )
    number = np.arange(len(ids), dtype=float)
    write_matrix(distances, ids, np.abs(number[:, None] - number))
    config = replace(config, sampler="semantic", settings={"sampler.distances": str(distances)})
    first = runner.run(config, SILENT)
    assert runner.run(config, listener).reused and not listener.said
    number = np.random.default_rng(0).permutation(number)
    write_matrix(distances, ids, np.abs(number[:, None] - number))
    again = runner.run(config, listener)
    assert listener.said == [f"{first.path} may be of other class distances than those that are there now; it is made again"]
    assert first.record.task.episodes_sha256 != again.record.task.episodes_sha256


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
