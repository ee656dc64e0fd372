"""The meta-gradient of MAML and its kin on a small Conv-4: what it is, and that all ways to it agree."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewbench.methods.adaptation.fomaml import FirstOrderMAML
from fewbench.methods.adaptation.maml import MAML
from fewbench.methods.adaptation.meta_sgd import MetaSGD
from fewbench.methods.adaptation.reptile import Reptile
from fewbench.tasks.episodes import Episodes

from .conftest import (
    QUERIES,
    SHOTS,
    SIZE,
    WAYS,
    assert_same,
    for_evaluation,
    image_episodes,
    meta_gradient,
    padded,
    taken,
    trained_parameters,
)


@pytest.mark.parametrize("statistics", ["queries", "support"])
@pytest.mark.parametrize("make", [MAML, FirstOrderMAML, MetaSGD])
def test_vmap_and_loop_agree(make: type[MAML], statistics: Any):
    methods = [make(parallel=parallel, statistics=statistics, inner_steps=2) for parallel in ("vmap", "loop")]
    episodes = image_episodes(methods[0], dtype=torch.float64)  # in float32 a gradient near 0 may take the other side of a ReLU
    (loss, gradient), (expected_loss, expected) = (meta_gradient(method, episodes) for method in methods)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    assert (gradient - expected).norm() < 1e-5 * expected.norm()
    evaluated = for_evaluation(episodes)
    torch.testing.assert_close(methods[0].classify(evaluated), methods[1].classify(evaluated), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.LayerNorm, nn.GroupNorm])
def test_vmap_and_loop_agree_on_other_norms(norm: type[nn.Module]):
    layer = {
        nn.InstanceNorm2d: lambda: nn.InstanceNorm2d(4, affine=True),
        nn.LayerNorm: lambda: nn.LayerNorm([4, SIZE // 2, SIZE // 2]),
        nn.GroupNorm: lambda: nn.GroupNorm(2, 4),
    }[norm]()
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, stride=2), layer, nn.ReLU())
    backbone = nn.Sequential(convolution, nn.AvgPool2d(SIZE // 2), nn.Flatten()).double()
    episodes = replace(image_episodes(MAML(), dtype=torch.float64), backbone=backbone)
    (_, gradient), (_, expected) = (meta_gradient(MAML(parallel=how, inner_steps=2), episodes) for how in ("vmap", "loop"))
    assert (gradient - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("parallel", ["vmap", "loop"])
@pytest.mark.parametrize("statistics", ["queries", "support"])
@pytest.mark.parametrize("make", [MAML, MetaSGD])
def test_the_meta_gradient_of_second_order_is_that_of_finite_differences(make: type[MAML], statistics: Any, parallel: Any):
    method = make(inner_steps=2, inner_learning_rate=0.1, statistics=statistics, parallel=parallel)
    episodes = image_episodes(method, count=2, dtype=torch.float64)
    parameters = trained_parameters(episodes)
    generator = torch.Generator().manual_seed(3)
    _, gradient = meta_gradient(method, episodes)
    step = 1e-6
    for _ in range(3):
        directions = [torch.randn(p.shape, dtype=torch.float64, generator=generator) for p in parameters]
        losses = []
        with torch.no_grad():
            for sign in (1, -2, 1):
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter += sign * step * direction
                losses.append(method.loss(episodes))
        slope = (losses[0] - losses[1]) / (2 * step)
        expected = gradient @ torch.cat([direction.flatten() for direction in directions])
        torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-7)


def test_first_order_has_the_same_loss_and_another_gradient():
    episodes = image_episodes(MAML(), dtype=torch.float64)
    (loss, second), (same_loss, first) = (meta_gradient(method, episodes) for method in (MAML(), FirstOrderMAML()))
    torch.testing.assert_close(loss, same_loss)
    assert (first - second).norm() > 0.05 * second.norm()


def test_padded_tasks_train_as_unpadded_ones():
    method = MAML(statistics="support")
    episodes = image_episodes(method)
    longer = padded(episodes)
    both = [replace(part, class_mask=part.class_mask[:1]) for part in (episodes, longer)]
    columns = ("support", "support_labels", "query", "query_labels")
    both = [replace(part, **{name: getattr(part, name)[:1] for name in columns}) for part in both]
    (_, gradient), (_, expected) = (meta_gradient(method, part) for part in both)
    assert_same(gradient, expected)
    assert longer.query_labels is not None
    labels = longer.query_labels.clone()
    labels[1, labels[1] == WAYS - 1] = -1  # the second episode lacks that class
    loss, gradient = meta_gradient(method, replace(longer, query_labels=labels))
    assert loss.isfinite() and gradient.isfinite().all()


def test_the_loss_is_the_mean_over_tasks_also_without_gradients():
    method = MAML(parallel="loop")
    episodes = image_episodes(method)
    singles = [replace(taken(episodes, index), query_labels=labels[None]) for index, labels in each(episodes)]
    with torch.no_grad():
        expected = torch.stack([method.loss(single) for single in singles]).mean()
    torch.testing.assert_close(method.loss(episodes).detach(), expected)


def each(episodes: Episodes) -> list[tuple[Tensor, Tensor]]:
    assert episodes.query_labels is not None
    return [(torch.tensor([i]), labels) for i, labels in enumerate(episodes.query_labels)]


def test_a_loss_that_is_scaled_has_scaled_gradients():
    method = MAML(parallel="loop")
    episodes = image_episodes(method)
    _, gradient = meta_gradient(method, episodes)
    scaled = torch.autograd.grad(8 * method.loss(episodes), trained_parameters(episodes))
    assert_same(torch.cat([tensor.flatten() for tensor in scaled]), 8 * gradient)


def test_reptile_has_the_gradient_start_minus_end():
    method = Reptile(inner_steps=1, batch_size=WAYS * SHOTS + QUERIES, inner_learning_rate=0.01)
    episodes = image_episodes(method, count=1, dtype=torch.float64)
    _, gradient = meta_gradient(method, episodes)
    # Adam's first step is the learning rate times the sign of the gradient, which a convolution's bias before batch norm lacks.
    assert gradient.abs().max() == pytest.approx(0.01, rel=1e-4)
    assert episodes.backbone is not None and episodes.learned is not None and episodes.query_labels is not None
    images = torch.cat([episodes.support[0], episodes.query[0]])
    labels = torch.cat([episodes.support_labels[0], episodes.query_labels[0]])
    loss = cross_entropy(episodes.learned(deepcopy(episodes.backbone)(images)), labels)
    weight = torch.autograd.grad(loss, list(episodes.learned.parameters()))[0].flatten()
    assert torch.equal(gradient[-weight.numel() - WAYS : -WAYS].sign(), weight.sign())


def test_meta_sgd_with_equal_rates_is_maml():
    maml, meta_sgd = MAML(inner_learning_rate=0.1, test_steps=1), MetaSGD(inner_learning_rate=0.1)
    episodes = image_episodes(meta_sgd)
    learned: Any = episodes.learned
    _, gradient = meta_gradient(maml, replace(episodes, learned=learned.head))
    _, with_rates = meta_gradient(meta_sgd, episodes)
    assert_same(with_rates[: len(gradient)], gradient)
    assert with_rates[len(gradient) :].abs().max() > 1e-3  # of the rates
    with torch.no_grad():
        for rate in learned.rates:
            rate.zero_()
    evaluated = for_evaluation(episodes)
    still = MAML(test_steps=0).classify(replace(evaluated, learned=learned.head))
    assert_same(meta_sgd.classify(evaluated), still)


def test_auto_keeps_to_what_it_measured_first(monkeypatch: pytest.MonkeyPatch):
    from fewbench.methods.parts import meta_gradient

    monkeypatch.setattr(meta_gradient, "_chosen", {})
    seconds = iter([1.0, 0.5])  # of the loop, of vmap
    monkeypatch.setattr(meta_gradient, "_seconds", lambda *_: next(seconds))
    method = MAML()
    episodes = image_episodes(method)
    assert method.settled(lambda: episodes).parallel == "vmap"
    monkeypatch.setattr(meta_gradient, "_chosen", {})
    monkeypatch.setattr(meta_gradient, "MEMORY", 1e4)
    assert method.settled(lambda: episodes).parallel == "loop"  # all tasks at once would not fit: not even tried


def test_auto_measures_and_gives_the_gradient_of_the_loop():
    episodes = image_episodes(MAML())
    (_, gradient), (_, expected) = (meta_gradient(MAML(parallel=parallel), episodes) for parallel in ("auto", "loop"))
    assert_same(gradient, expected)
