"""Recipes with a teacher: what it says of the images, and the losses by loops in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from fewbench.benchmark import registry
from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, read_description, weights_sha256, write_checkpoint
from fewbench.benchmark.backbones.weights.find import shipped_weights
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.features.table import feature_table
from fewbench.benchmark.training.loop.learner import Part
from fewbench.benchmark.training.pretrain_config import PretrainConfig
from fewbench.benchmark.training.pretraining import pretrain
from fewbench.benchmark.training.recipes.base import Material
from fewbench.benchmark.training.recipes.distill import Distill, soft_cross_entropy
from fewbench.benchmark.training.recipes.self_distill import divergence
from fewbench.benchmark.training.recipes.spl import Spl, flipped, sub_pseudo_labels
from fewbench.benchmark.training.recipes.teacher import SHRINKAGE, discriminant
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.base import Dataset
from fewbench.tasks.datasets.split import Split

CPU = torch.device("cpu")
SCORES = torch.randn(2, 5, 3, generator=Generator().manual_seed(0), dtype=torch.float64)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = [math.exp(score) for score in scores]
    return np.array([power / sum(powers) for power in powers])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_losses_of_soft_labels_are_their_formulas(temperature: float) -> None:
    taught, scores = SCORES
    cross, kl = 0.0, 0.0
    for teacher, student in zip(taught.numpy(), scores.numpy(), strict=True):
        p, q = softmax(teacher / temperature), softmax(student / temperature)
        cross -= sum(p[k] * math.log(q[k]) for k in range(3)) / 5
        kl += temperature**2 * sum(p[k] * math.log(p[k] / q[k]) for k in range(3)) / 5
    assert soft_cross_entropy(taught, scores, temperature).item() == pytest.approx(cross, rel=1e-12)
    assert divergence(taught, scores, temperature).item() == pytest.approx(kl, rel=1e-12)
    assert divergence(taught, taught + 7, temperature).item() == pytest.approx(0, abs=1e-12)


def test_self_distillation_weighs_labels_and_answers(material: Material, learner_of) -> None:
    losses = []
    for share in (0.0, 0.25, 1.0):
        learner = learner_of("self-distill", material, share=share, temperature=2.0).eval()
        torch.nn.init.normal_(learner.head[1].weight, generator=Generator().manual_seed(0))
        images, labels, taught = learner.batch(0, Part())
        loss, figures = learner((images, labels, taught))
        losses.append(loss.item())
    scores = learner.head(learner.backbone(images))
    assert losses[0] == pytest.approx(torch.nn.functional.cross_entropy(scores, labels).item(), rel=1e-5)
    assert losses[2] == pytest.approx(divergence(taught, scores, 2.0).item(), rel=1e-5)
    assert losses[1] == pytest.approx(0.75 * losses[0] + 0.25 * losses[2], rel=1e-5)
    assert figures["accuracy"].item() == pytest.approx((scores.argmax(dim=1) == labels).float().mean().item())


def test_distillation_never_sees_the_labels(material: Material, learner_of) -> None:
    learner = learner_of("distill", material).eval()
    images, labels, taught = learner.batch(0, Part())
    torch.nn.init.normal_(learner.head[1].weight, generator=Generator().manual_seed(0))
    with torch.no_grad():
        loss, other = (learner((images, each, taught))[0].item() for each in (labels, labels.flip(0)))
        expected = soft_cross_entropy(taught, learner.head(learner.backbone(images)), 1.0)
    assert loss == other == pytest.approx(expected.item())


def test_answers_stand_beside_their_images(material: Material, learner_of) -> None:
    learner = learner_of("distill", material)
    for rank in range(2):
        _, labels, taught = learner.batch(3, Part(rank, 2))
        assert torch.equal(taught, learner.taught[learner.images.rows(3)[rank::2]])
        assert (taught.argmax(dim=1) == labels).float().mean() > 0.7  # the teacher of this test is mostly right


def test_the_discriminant_is_gaussian_s_log_density() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), [4, 6, 5])
    rows = random.normal(size=(15, 4)) + labels[:, None]
    means = np.stack([rows[labels == k].mean(axis=0) for k in range(3)])
    centred = rows - means[labels]
    covariance = centred.T @ centred / 15 + SHRINKAGE * ((rows - rows.mean(axis=0)) ** 2).mean() * np.eye(4)
    weights, biases = discriminant(torch.from_numpy(rows), torch.from_numpy(labels), 3)
    for row in rows:
        found = weights.numpy() @ row + biases.numpy()
        density = [-(row - mean) @ np.linalg.inv(covariance) @ (row - mean) / 2 for mean in means]
        assert found - found[0] == pytest.approx(np.array(density) - density[0], rel=1e-9)


def test_one_image_a_class_is_enough_for_a_discriminant() -> None:
    rows = torch.eye(4, 7, dtype=torch.float64)
    weights, biases = discriminant(rows, torch.arange(4), 4)
    assert (rows @ weights.T + biases).argmax(dim=1).tolist() == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def dataset(tiny: str) -> Dataset:
    return registry.load(registry.find("datasets", tiny))()


@pytest.fixture(scope="module")
def split(dataset: Dataset) -> Split:
    return dataset.split("train")


def test_a_teacher_is_shown_as_many_images_as_are_asked_for(dataset: Dataset, split: Split, tiny_weights: Path) -> None:
    accuracies = []
    for labelled in (1, 5, None):
        teacher = Distill(teacher=str(tiny_weights), labelled=labelled).teacher_of(dataset, split, CPU, SILENT)
        scores = teacher.scores()
        accuracies.append((scores.argmax(dim=1).numpy() == split.labels).mean())
    assert scores.shape == (360, 12) and teacher.seen.weights_sha256 == weights_sha256(tiny_weights)
    assert accuracies[0] < accuracies[1] < accuracies[2] and accuracies[2] > 0.6
    features = feature_table(load_backbone("conv4", {}, tiny_weights), split, CPU, SILENT).features
    five = [row for row in range(360) if row % 30 < 5]
    weights, biases = discriminant(
        torch.from_numpy(np.array(features[five])).double(), torch.from_numpy(split.labels[five]), 12
    )
    again = Distill(teacher=str(tiny_weights), labelled=5).teacher_of(dataset, split, CPU, SILENT).scores()
    assert torch.allclose(again, (torch.from_numpy(np.array(features)).double() @ weights.T + biases).float())


def test_a_teacher_that_reads_labels_by_the_names(dataset: Dataset, split: Split) -> None:
    names = tuple(f"{colour} dotted square" for colour in ("red", "blue", "green", "grey") for _ in range(3))
    named = replace(split, class_names=names)
    teacher = Distill(teacher="clip-tiny-trifeature", labels="names").teacher_of(dataset, named, CPU, SILENT)
    scores = teacher.scores()
    scale = read_checkpoint(shipped_weights()["clip-tiny-trifeature"]).tensors["logit_scale"].exp().item()
    assert scores.shape == (360, 12) and scores.abs().max() <= scale * (1 + 1e-5)
    assert torch.equal(scores[:, 0], scores[:, 1]) and not torch.allclose(scores[:, 0], scores[:, 3])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, r"^the recipe needs a teacher: --set recipe\.teacher=FILE, such as weights of bench pretrain$"),
        ({"teacher": "nowhere.safetensors"}, r"recipe\.teacher=nowhere\.safetensors: no such file, shipped weights"),
        ({"teacher": "conv4"}, r"recipe\.teacher=conv4: no such file, shipped weights, or backbone with"),
        ({"teacher": "convv4"}, r"unknown backbone 'convv4'"),
        ({"teacher": "conv4-trifeature", "labels": "names"}, r"backbone Conv4 has no text tower"),
    ],
)
def test_a_teacher_that_there_is_not_is_one_line(values: dict, said: str, dataset: Dataset, split: Split) -> None:
    with pytest.raises(UserError, match=said):
        Distill(**values).teacher_of(dataset, split, CPU, SILENT).scores()  # type: ignore[union-attr]


def test_weights_without_a_description_are_no_teacher(
    dataset: Dataset, split: Split, tiny_weights: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    save_file(read_checkpoint(tiny_weights).tensors, tmp_path / "bare.safetensors")
    with pytest.raises(UsageError, match="the file does not say which network it fills"):
        Distill(teacher=str(tmp_path / "bare.safetensors")).teacher_of(dataset, split, CPU, SILENT)


def test_another_teacher_is_another_training(tiny: str, tiny_weights: Path, tmp_path: Path) -> None:
    teacher, settings = (
        tmp_path / "teacher.safetensors",
        {"backbone.width": 8, "recipe.teacher": f"{tmp_path}/teacher.safetensors"},
    )
    quick = PretrainConfig(dataset=tiny, recipe="distill", epochs=1, batch_size=60, device="cpu", settings=settings)
    checkpoint = read_checkpoint(tiny_weights)
    assert checkpoint.description is not None
    write_checkpoint(teacher, checkpoint.tensors, checkpoint.description)
    path = pretrain(quick, tmp_path / "student.safetensors", SILENT)
    about = read_description(path)
    assert about is not None and about.pretraining.recipe_parameters is not None
    assert about.pretraining.recipe_parameters["teacher"] == "teacher.safetensors"  # no folder of one machine
    other = {name: value + 0.01 for name, value in checkpoint.tensors.items() if value.is_floating_point()}
    write_checkpoint(teacher, {**checkpoint.tensors, **other}, checkpoint.description)
    with pytest.raises(UsageError, match=r"of another training \(start_sha256 "):
        pretrain(quick, path, SILENT)


WEAK, PREDICTED = torch.tensor([0, 0, 1, 2, 0, 2]), torch.tensor([0, 2, 1, 1, 0, 0])


@pytest.mark.parametrize(
    ("space", "groups", "expected"),
    [
        ("pairs", [0, 1, 2], [0, 1, 2, 4, 0, 3]),
        ("agreement", [0, 1, 2], [1, 0, 2, 3, 1, 3]),
        ("weak", [0, 1, 2], [0, 0, 1, 2, 0, 2]),
        ("teacher", [0, 1, 2], [0, 2, 1, 1, 0, 0]),
        ("agreement", [0, 2, 0], [0, 0, 1, 3, 0, 2]),  # class 1 belongs to weak label 2, and nothing to weak label 1
    ],
)
def test_sub_pseudo_labels_are_entries_of_the_confusion(space: str, groups: list[int], expected: list[int]) -> None:
    assert sub_pseudo_labels(WEAK, PREDICTED, torch.tensor(groups), space).tolist() == expected  # type: ignore[arg-type]


def test_labels_are_flipped_to_all_others_alike() -> None:
    labels = torch.arange(4).repeat(5000)
    noisy = flipped(labels, 4, 0.3, seed=1)
    wrong = noisy != labels
    assert wrong.float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(noisy, flipped(labels, 4, 0.3, seed=1)) and not torch.equal(noisy, flipped(labels, 4, 0.3, seed=2))
    steps = ((noisy - labels) % 4)[wrong].bincount()
    assert steps[0] == 0 and steps[1:].float().std() < 0.05 * steps[1:].float().mean()
    assert torch.equal(flipped(labels, 4, 0.0, seed=1), labels)


def test_the_loss_of_sub_pseudo_labels_is_their_cross_entropy(material: Material, learner_of) -> None:
    learner = learner_of("spl", material, noise=0.3).double().eval()
    torch.nn.init.normal_(learner.head[1].weight, generator=Generator().manual_seed(0))
    images, labels = learner.batch(1, Part())
    loss, _ = learner((images.double(), labels))
    scores = learner.head(learner.backbone(images.double())).detach().numpy()
    expected = -np.mean([math.log(softmax(row)[label]) for row, label in zip(scores, labels, strict=True)])
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(labels, learner.learnt[learner.images.rows(1)])
    assert 12 < scores.shape[1] <= 144 and learner.learnt.unique().tolist() == [*range(scores.shape[1])]


def test_parents_are_weak_labels(dataset: Dataset, split: Split, tiny_weights: Path) -> None:
    trifeature = registry.load(registry.find("datasets", "trifeature"))()
    identifiers = tuple(name for name, _ in trifeature.class_list("train")[:12])
    teacher = Spl(teacher=str(tiny_weights), weak="parents").teacher_of(
        trifeature, replace(split, class_ids=identifiers), CPU, SILENT
    )
    assert teacher.groups is not None and len(teacher.groups) == 12
    parents = trifeature.taxonomy("train").parents
    for i in range(12):
        for j in range(12):
            shared = parents[identifiers[i]][0] == parents[identifiers[j]][0]
            assert (teacher.groups[i] == teacher.groups[j]) == shared
    with pytest.raises(UserError, match="has no class taxonomy"):
        Spl(teacher=str(tiny_weights), weak="parents").teacher_of(dataset, split, CPU, SILENT)
