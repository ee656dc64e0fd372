"""Triplets against loops in float64: which negative is taken, both measures, and the images of a batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fewbench.benchmark.training.loop.learner import Part
from fewbench.benchmark.training.recipes.base import Material
from fewbench.benchmark.training.recipes.triplet import semi_hard

LABELS = np.array([0, 0, 1, 1, 1, 2])


def loss_by_loops(costs: np.ndarray, labels: np.ndarray, margin: float) -> tuple[float, float]:
    """The mean hinge of the triplets within the margin, and the mean cost of the pairs."""
    hinges, pairs = [], []
    for i in range(len(labels)):
        for j in range(len(labels)):
            if i == j or labels[i] != labels[j]:
                continue
            negatives = [costs[i, k] for k in range(len(labels)) if labels[k] != labels[i]]
            farther = [cost for cost in negatives if cost > costs[i, j]]
            negative = min(farther) if farther else max(negatives)
            hinges.append(max(0.0, margin + costs[i, j] - negative))
            pairs.append(costs[i, j])
    within = sum(hinge > 0 for hinge in hinges)
    return sum(hinges) / max(1, within), float(np.mean(pairs))


@pytest.mark.parametrize("margin", [0.05, 0.2, 10])
def test_negatives_are_the_nearest_of_those_farther_than_the_pair(margin: float) -> None:
    points = np.random.default_rng(0).normal(size=(6, 2))
    costs = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    positive, negative = semi_hard(torch.from_numpy(costs), torch.from_numpy(LABELS))
    hinge = (margin + positive - negative).clamp(min=0)
    found = hinge.sum() / (hinge > 0).sum().clamp(min=1)
    assert found.item() == pytest.approx(loss_by_loops(costs, LABELS, margin)[0], rel=1e-12)
    assert len(positive) == 2 + 6 and positive.dtype == torch.float64


def test_a_batch_of_one_class_has_no_triplets() -> None:
    positive, negative = semi_hard(torch.rand(4, 4), torch.zeros(4, dtype=torch.int64))
    assert len(positive) == len(negative) == 0


@pytest.mark.parametrize("measure", ["distance", "matching"])
def test_the_loss_is_the_formula(measure: str, material: Material, learner_of) -> None:
    learner = learner_of("triplet", material, measure=measure, width=5).double().eval()
    images, labels = learner.batch(0, Part())
    loss, figures = learner((images.double(), labels))
    with torch.no_grad():
        z = learner.head(learner.backbone(images.double())).numpy()
    if measure == "distance":
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    costs = ((z[:, None] - z[None]) ** 2).sum(axis=2)
    if measure == "matching":  # a is elu(-0.65) + 1, b is -0.5
        probability = 1 / (1 + np.exp(-(-0.5 - math.exp(-0.65) * np.sqrt(costs))))
        costs = -np.log(probability)
    hinge, pairs = loss_by_loops(costs, labels.numpy(), 0.2 if measure == "distance" else math.log(2))
    assert loss.item() == pytest.approx(hinge + (0.005 * pairs if measure == "matching" else 0), rel=1e-4)
    assert 0 < figures["within_margin"].item() <= 1


def test_a_and_b_of_the_matching_probability_are_learnt(material: Material, learner_of) -> None:
    learner = learner_of("triplet", material, measure="matching").train()
    loss, _ = learner(learner.batch(0, Part()))
    a, b = torch.autograd.grad(loss, [learner.raw_a, learner.b])
    assert a != 0 and b != 0


def test_images_of_one_point_have_gradients(material: Material, learner_of) -> None:
    learner = learner_of("triplet", material, measure="matching").train()
    torch.nn.init.zeros_(learner.head.weight)
    loss, _ = learner(learner.batch(0, Part()))
    gradients = torch.autograd.grad(loss, [*learner.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_batch_has_groups_of_one_class(material: Material, learner_of) -> None:
    learner = learner_of("triplet", material, group=4)
    labels = learner.batch(2, Part())[1]
    assert len(labels) == 24
    for group in labels.split(4):
        assert len(group.unique()) == 1
    rows, leaders = learner.images.rows(2), material.images.rows(2)
    assert torch.equal(rows[::4], leaders[:6])
    assert len(rows.unique()) > 18  # others of the class, not the first one again
    parts = torch.cat([learner.images.rows(2)[rank::2] for rank in range(2)])
    assert sorted(parts.tolist()) == sorted(rows.tolist())


def test_the_last_group_of_a_batch_may_be_smaller(material: Material, learner_of) -> None:
    labels = learner_of("triplet", material, group=7).batch(0, Part())[1]
    assert [len(group) for group in labels.split(7)] == [7, 7, 7, 3]
    assert all(len(group.unique()) == 1 for group in labels.split(7))


def test_companions_do_not_draw_from_the_global_generator(material: Material, learner_of) -> None:
    state = torch.random.get_rng_state()
    learner_of("triplet", material).batch(0, Part())
    assert torch.equal(torch.random.get_rng_state(), state)
