from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fewbench.benchmark import RunConfig, run
from fewbench.benchmark.backbones.weights.checkpoint import read_description, weights_sha256
from fewbench.benchmark.training.loop.learner import Part
from fewbench.benchmark.training.meta.meta_training import decide, default_output, meta_train, plan_of
from fewbench.benchmark.training.meta.train_config import TrainConfig
from fewbench.benchmark.training.options import Effort
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT, Progress
from fewbench.tasks.datasets.base import Dataset
from fewbench.tasks.datasets.split import Split


@pytest.fixture
def quick(tiny: str) -> TrainConfig:
    """Four steps of prototypical networks on a Conv-4 with 8 filters."""
    return TrainConfig(
        "protonet", tiny, ways=4, queries=3, steps=4, validate_every=2, val_episodes=20, settings={"backbone.width": 8}
    )


def about(path: Path) -> dict:
    description = read_description(path)
    assert description is not None
    return json.loads(description.to_json())


def test_a_trained_checkpoint_is_evaluated_with_its_method_and_twice_the_same(quick: TrainConfig, tmp_path: Path):
    path = meta_train(quick, tmp_path / "trained.safetensors", SILENT)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".csv", ".png"}
    assert about(path)["pretraining"]["recipe"] == "protonet 4-way 1-shot"
    config = RunConfig(dataset=quick.dataset, checkpoint=str(path), episodes=50, queries=5, results=tmp_path / "a")
    first, second = run(config), run(replace(config, results=tmp_path / "b"))
    assert first.accuracies.tolist() == second.accuracies.tolist()
    assert first.backbone.weights == "trained" and first.backbone.pretraining.steps == 4
    ridge = run(replace(config, checkpoint=None, weights=str(path), method="ridge"))
    assert ridge.backbone.weights_sha256 == first.backbone.weights_sha256


def test_what_a_method_learned_beside_the_backbone_goes_with_the_checkpoint(quick: TrainConfig, tmp_path: Path):
    config = replace(quick, method="meta-baseline", learning_rate=0.1)
    path = meta_train(config, tmp_path / "trained.safetensors", SILENT)
    evaluation = RunConfig("meta-baseline", dataset=quick.dataset, episodes=10, queries=5, results=tmp_path)
    trained = run(replace(evaluation, checkpoint=str(path)))
    assert trained.method.learned_sha256 == trained.backbone.weights_sha256
    assert run(replace(evaluation, weights=str(path))).method.learned_sha256 is None
    with pytest.raises(UsageError, match="is of method meta-baseline, not protonet"):
        run(replace(evaluation, method="protonet", checkpoint=str(path)))


def test_a_killed_training_ends_in_the_same_bytes(quick: TrainConfig, tmp_path: Path):
    whole = weights_sha256(meta_train(quick, tmp_path / "whole.safetensors", SILENT))
    with pytest.raises(UserError, match="stopped by --time-limit after 1 of 4 steps; the same command goes on"):
        meta_train(quick, tmp_path / "parts.safetensors", SILENT, Effort(time_limit=1e-9))
    assert weights_sha256(meta_train(quick, tmp_path / "parts.safetensors", SILENT)) == whole


def test_a_finished_training_is_left_alone_and_another_one_refused(quick: TrainConfig, tmp_path: Path):
    path = meta_train(quick, tmp_path / "trained.safetensors", SILENT)
    before = path.stat().st_mtime_ns
    assert meta_train(quick, path, SILENT).stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"of another training \(steps 4, not 6\)"):
        meta_train(replace(quick, steps=6), path, SILENT)


def test_a_step_draws_the_same_episodes_whole_or_in_parts(quick: TrainConfig, tmp_path: Path):
    learner = plan_of(replace(quick, meta_batch=4, crop=1), SILENT).learner(tmp_path)
    whole = learner.batch(2, Part())
    parts = [learner.batch(2, Part(rank, 2)) for rank in range(2)]
    assert whole.support.shape == (4, 4, 3, 16, 16) and whole.query.shape == (4, 12, 3, 16, 16)
    assert torch.equal(torch.stack([part.seeds for part in parts], dim=1).flatten(), whole.seeds)
    assert torch.equal(learner.batch(2, Part()).query, whole.query)
    assert not torch.equal(learner.batch(3, Part()).query, whole.query)
    assert whole.query_labels is not None and sorted(set(whole.query_labels[0].tolist())) == [0, 1, 2, 3]


def test_crops_and_colours_change_what_is_learnt_and_are_recorded(quick: TrainConfig, tmp_path: Path):
    plain, other = (plan_of(config, SILENT) for config in (quick, replace(quick, smallest_area=0.3, jitter=0.4)))
    batches = [plan.learner(tmp_path).batch(0, Part()) for plan in (plain, other, other)]
    assert torch.equal(batches[1].support, batches[2].support) and not torch.equal(batches[0].support, batches[1].support)
    usual = plain.identity().config
    assert other.identity().config == {**usual, "smallest_area": 0.3, "jitter": 0.4}
    assert not {"smallest_area", "jitter"} & set(usual)


def test_grey_images_have_no_colours_to_change(quick: TrainConfig, monkeypatch: pytest.MonkeyPatch):
    images = Dataset.split

    def grey(self: Dataset, name: str, progress: Progress) -> Split:
        split = images(self, name, progress)
        return replace(split, images=split.images[..., :1])

    monkeypatch.setattr(Dataset, "split", grey)
    with pytest.raises(UsageError, match=r"^--jitter 0\.4: the images are grey$"):
        plan_of(replace(quick, jitter=0.4), SILENT)


def test_batch_norm_of_what_is_learned_sees_an_episode_once(quick: TrainConfig, tmp_path: Path):
    config = replace(quick, method="relation-net", backbone="relation-encoder", size=28, settings={"bn": "running"})
    learner = plan_of(config, SILENT).learner(tmp_path).train()
    learner(learner.batch(0, Part()))
    counts = [int(value) for name, value in learner.state_dict().items() if name.endswith("num_batches_tracked")]
    assert len(counts) > 4 and set(counts) == {1}
    assert isinstance(learner.learned, nn.Module) and all(module.training for module in learner.learned.modules())


def test_losses_on_features_are_of_full_precision(quick: TrainConfig, tmp_path: Path):
    learner = plan_of(quick, SILENT).learner(tmp_path).train()
    batch = learner.batch(0, Part())
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = learner(batch)
    assert loss.dtype == torch.float32 and loss != loss.bfloat16()


@pytest.mark.parametrize("method", ["maml", "reptile", "meta-sgd"])
def test_a_classifier_of_as_many_ways_as_episodes_is_validated_on_no_more(method: str, quick: TrainConfig):
    with pytest.raises(UsageError, match=f"^--val-ways 5: {method} meta-trains a classifier of 4 classes; take --val-ways 4$"):
        plan_of(replace(quick, method=method), SILENT)
    varying = replace(quick, method=method, ways=None, shots=None, queries=None, sampler="meta-dataset")
    with pytest.raises(UsageError, match=f"^--sampler meta-dataset: {method} meta-trains a classifier, of a fixed number"):
        plan_of(varying, SILENT)


def test_a_checkpoint_is_of_the_weights_that_it_started_from(quick: TrainConfig, tiny_weights: Path, tmp_path: Path):
    start, output = tmp_path / "start.safetensors", tmp_path / "trained.safetensors"
    start.write_bytes(tiny_weights.read_bytes())
    config = replace(quick, weights=str(start))
    path = meta_train(config, output, SILENT)
    assert meta_train(config, output, SILENT) == path
    other = meta_train(config, tmp_path / "other.safetensors", SILENT)
    start.write_bytes(other.read_bytes())
    with pytest.raises(UsageError, match=r"of another training \(start_sha256 "):
        meta_train(config, output, SILENT)


def test_weights_are_a_safetensors_file(quick: TrainConfig, tmp_path: Path):
    for name in ("trained", "trained-lr0.4", "trained.json"):
        with pytest.raises(UsageError, match=r"--output .*: the weights file is a \.safetensors file; its name has to end so$"):
            meta_train(quick, tmp_path / name, SILENT)
    assert not [*tmp_path.iterdir()]


def test_a_plugins_checkpoint_is_evaluated_from_anywhere(quick: TrainConfig, tmp_path: Path):
    (tmp_path / "mine.py").write_text("from fewbench.methods.metric.protonet import ProtoNet\nclass Mine(ProtoNet): pass\n")
    name = f"{tmp_path / 'mine.py'}:Mine"
    path = meta_train(replace(quick, method=name), tmp_path / "trained.safetensors", SILENT)
    config = RunConfig(name, dataset=quick.dataset, checkpoint=str(path), episodes=10, queries=5, results=tmp_path)
    assert run(config).method.name == "mine.py:Mine"
    with pytest.raises(UsageError, match=r"trained\.safetensors is of backbone conv4, not resnet12$"):
        run(replace(config, backbone="resnet12"))


@pytest.mark.parametrize("method", ["maml", "relation-net", "feat", "r2d2", "meta-opt-net", "matching-net"])
def test_a_step_moves_the_backbone_and_what_is_learned(method: str, quick: TrainConfig, tmp_path: Path):
    options: dict = {"relation-net": {"backbone": "relation-encoder", "size": 28, "settings": {}}}.get(method, {})
    if method == "matching-net":
        options = {"settings": {**quick.settings, "full_context": True}}
    learner = plan_of(replace(quick, method=method, val_ways=4, **options), SILENT).learner(tmp_path)
    loss, _ = learner.train()(learner.batch(0, Part()))
    loss.backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in learner.backbone.parameters())
    if isinstance(learner.learned, nn.Module):
        assert any(parameter.grad is not None for parameter in learner.learned.parameters())


def test_the_papers_settings_are_the_defaults_and_are_recorded(tiny: str):
    cpu = torch.device("cpu")
    config = decide(TrainConfig("protonet", "trifeature", backbone="conv4", ways=8), cpu).config
    assert (config.schedule, config.halve_every, config.optimizer) == ("step", 2000, "adam")
    reptile = decide(TrainConfig("reptile", "omniglot"), cpu).config
    assert (reptile.shots, reptile.queries, reptile.meta_batch) == (1, 9, 5)
    assert default_output(TrainConfig("protonet", "omniglot"), Path("mine")) == Path(
        "mine/checkpoints/protonet-conv4-omniglot-60way1shot.safetensors"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "ridge"}, "method ridge is not meta-trained; .*protonet"),
        ({"ways": 13}, "13"),
        ({"val_ways": 13}, "validation episodes need 13 val classes; there are 12"),
        ({"val_queries": 30}, "the val classes need 31 images each; the smallest has 30"),
        ({"meta_batch": 0}, "--meta-batch 0: at least 1"),
        ({"steps": 0}, "--steps 0: at least 1"),
        (
            {"method": "feat", "optimizer": "locoprop"},
            "LayerNorm learned.layer_norm cannot be trained with it, .* Linear,",
        ),
        ({"learning_rate": -1.0}, "--learning-rate -1: above 0"),
        ({"schedule": "linear"}, "--schedule linear: not cosine, step"),
        ({"settings": {"widht": 3}}, "method protonet has no parameter 'widht'"),
        ({"weights": "absent.pt"}, "--weights absent.pt: no such file"),
    ],
)
def test_a_mistake_is_one_line(options: dict, says: str, quick: TrainConfig, tmp_path: Path):
    with pytest.raises(UserError, match=says) as caught:
        meta_train(replace(quick, **options), tmp_path / "trained.safetensors", SILENT)
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shots": 0}, "--shots 0: at least 1"),
        ({"learning_rate": 0.0}, "--learning-rate 0: above 0"),
        ({"clip_norm": -1.0}, "--clip-norm -1: above 0"),
        ({"weight_decay": float("nan")}, "--weight-decay nan: not a finite number"),
        ({"validate_every": 0}, "--validate-every 0: at least 1"),
        ({"precision": "fp8"}, "--precision fp8: not fp32, bf16"),
        ({"jitter": 1.5}, "--jitter 1.5: from 0 to 1"),
        ({"smallest_area": 0.0}, "--smallest-area 0: from 0.01 to 1"),
        ({"smallest_area": 0.5, "crop": 2}, "--crop shifts images and --smallest-area crops them; give one"),
        ({"seed": 2**64}, "--seed 18446744073709551616: from 0"),
        ({"backbone": "timm:resnet18", "settings": {"backbone.norm": "group"}}, "--norm is for conv4, resnet12 and wrn-28-10;"),
    ],
)
def test_what_is_out_of_range_is_refused_before_anything_is_looked_up(options: dict, says: str):
    with pytest.raises(UsageError, match=says):
        TrainConfig("no-method", "no-dataset", **options)


def test_a_loss_that_is_no_number_stops_at_once_and_keeps_the_last_checkpoint(quick: TrainConfig, tmp_path: Path):
    output = tmp_path / "trained.safetensors"
    with pytest.raises(UserError, match=r"step \d+"):
        meta_train(replace(quick, optimizer="momentum", learning_rate=1e30), output, SILENT)
    assert not output.exists()


@pytest.mark.parametrize("what", ["absent", "cut in half", "of a pretraining"])
def test_a_checkpoint_that_is_none_is_refused_in_one_line(what: str, quick: TrainConfig, tmp_path: Path, tiny_weights: Path):
    path = tmp_path / "trained.safetensors"
    if what == "cut in half":
        meta_train(quick, path, SILENT)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    checkpoint = {"absent": tmp_path / "nowhere.safetensors", "cut in half": path, "of a pretraining": tiny_weights}[what]
    config = RunConfig(dataset=quick.dataset, checkpoint=str(checkpoint), episodes=5, queries=5, results=tmp_path)
    with pytest.raises(UserError) as caught:
        run(config)
    assert "\n" not in str(caught.value) and str(checkpoint.name) in str(caught.value)
