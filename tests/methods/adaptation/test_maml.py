"""MAML and its kin on a small Conv-4: the meta-gradient, the contract of a method, and what tells one from another."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.adaptation.anil import ANIL
from fewbench.methods.adaptation.fomaml import FirstOrderMAML
from fewbench.methods.adaptation.maml import MAML
from fewbench.methods.adaptation.meta_sgd import MetaSGD
from fewbench.methods.adaptation.reptile import Reptile
from fewbench.methods.base import Method
from fewbench.tasks.episodes import Episodes

WAYS, SHOTS, QUERIES, SIZE = 3, 2, 6, 16
QUICK_REPTILE = {"test_steps": 4, "inner_learning_rate": 0.01}
METHODS: dict[str, Callable[..., Method]] = {
    "maml": MAML,
    "fomaml": FirstOrderMAML,
    "meta-sgd": MetaSGD,
    "reptile": lambda **settings: Reptile(**{**QUICK_REPTILE, **settings}),
}


def image_episodes(method: Method, count: int = 3, head_ways: int = WAYS, dtype: torch.dtype = torch.float32) -> Episodes:
    """Episodes of noisy images, each class with a brightness pattern of its own, and a network with random weights."""
    random = np.random.default_rng(0)
    patterns = random.normal(size=(count, WAYS, 1, SIZE, SIZE))
    support_labels, query_labels = np.tile(np.arange(WAYS), SHOTS), np.tile(np.arange(WAYS), QUERIES // WAYS)
    support = patterns[:, support_labels] + random.normal(size=(count, len(support_labels), 1, SIZE, SIZE))
    query = patterns[:, query_labels] + random.normal(size=(count, QUERIES, 1, SIZE, SIZE))
    generator = torch.Generator().manual_seed(1)
    backbone = Conv4(width=4).build(1, SIZE, generator).to(dtype)
    learned = method.learned_part(backbone, 4, head_ways, generator)
    return Episodes(
        support=torch.from_numpy(support).to(dtype),
        support_labels=torch.from_numpy(np.tile(support_labels, (count, 1))),
        query=torch.from_numpy(query).to(dtype),
        ways=WAYS,
        class_mask=torch.ones(count, WAYS, dtype=torch.bool),
        seeds=torch.from_numpy(random.integers(0, 2**63, size=count)),
        backbone=backbone,
        learned=None if learned is None else learned.to(dtype),
        query_labels=torch.from_numpy(np.tile(query_labels, (count, 1))),
    )


def for_evaluation(episodes: Episodes) -> Episodes:
    """As a run gives them: no labels of queries, the network in evaluation mode and without gradients."""
    assert episodes.backbone is not None and episodes.learned is not None
    backbone, learned = deepcopy(episodes.backbone).eval(), deepcopy(episodes.learned).eval()
    return replace(episodes, backbone=backbone.requires_grad_(False), learned=learned.requires_grad_(False), query_labels=None)


def taken(episodes: Episodes, index: Tensor) -> Episodes:
    columns = ("support", "support_labels", "query", "class_mask", "seeds")
    return replace(episodes, **{name: getattr(episodes, name)[index] for name in columns})


def padded(episodes: Episodes) -> Episodes:
    """With two more places of support, one more way, and the last class gone from the second episode."""
    labels = episodes.support_labels.clone()
    labels[1, labels[1] == WAYS - 1] = -1
    mask = torch.nn.functional.pad(episodes.class_mask, (0, 1), value=False)
    mask[1, WAYS - 1] = False
    return replace(
        episodes,
        support=torch.cat([episodes.support, torch.full_like(episodes.support[:, :2], 77)], dim=1),
        support_labels=torch.nn.functional.pad(labels, (0, 2), value=-1),
        class_mask=mask,
        ways=WAYS + 1,
    )


def trained_parameters(episodes: Episodes) -> list[nn.Parameter]:
    assert episodes.backbone is not None and episodes.learned is not None
    return [*episodes.backbone.parameters(), *episodes.learned.parameters()]


def meta_gradient(method: Method, episodes: Episodes) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient as one vector."""
    loss = method.loss(episodes)
    gradients = torch.autograd.grad(loss, trained_parameters(episodes))
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.fixture(params=[(name, statistics) for name in METHODS for statistics in ("queries", "support")], ids="-".join)
def method(request: pytest.FixtureRequest) -> Method:
    name, statistics = request.param
    return METHODS[name](statistics=statistics)


def assert_same(scores: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=2e-5)


def test_permuted_episodes_and_any_batch_size_give_the_same_scores(method: Method):
    episodes = for_evaluation(image_episodes(method))
    scores = method.classify(episodes)
    assert scores.shape == (3, QUERIES, WAYS)
    order = torch.tensor([2, 0, 1])
    assert_same(method.classify(taken(episodes, order)), scores[order])
    assert_same(method.classify(taken(episodes, torch.tensor([1]))), scores[1:2])


def test_permuted_queries_permute_the_scores(method: Method):
    episodes = for_evaluation(image_episodes(method))
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    permuted = replace(episodes, query=episodes.query[:, order])
    assert_same(method.classify(permuted), method.classify(episodes)[:, order])


def test_other_queries_matter_exactly_where_the_method_says_so(method: Method):
    episodes = for_evaluation(image_episodes(method))
    others = replace(episodes, query=torch.cat([episodes.query[:, :2], 9 * episodes.query[:, 2:].flip(0)], dim=1))
    change = (method.classify(others)[:, :2] - method.classify(episodes)[:, :2]).abs().max()
    assert change > 1e-2 if method.transductive else change < 1e-5


def test_padding_changes_nothing_or_is_refused(method: Method):
    episodes = for_evaluation(image_episodes(method))
    if method.transductive:
        with pytest.raises(UserError, match="statistics=support"):
            method.classify(padded(episodes))
        return
    scores = method.classify(padded(episodes))
    assert scores.shape == (3, QUERIES, WAYS + 1)
    assert_same(scores[[0, 2], :, :WAYS], method.classify(episodes)[[0, 2]])
    assert scores[1, :, : WAYS - 1].isfinite().all()


def test_nothing_is_touched_neither_modules_nor_the_random_state(method: Method):
    episodes = image_episodes(method)
    assert episodes.backbone is not None and episodes.learned is not None
    evaluated = for_evaluation(episodes)
    states = [deepcopy(part.state_dict()) for part in (episodes.backbone, episodes.learned)]
    random_state = torch.get_rng_state()
    method.loss(episodes).backward()
    with torch.no_grad():
        method.classify(evaluated)
    assert torch.equal(torch.get_rng_state(), random_state)
    for part, evaluated_part, before in zip(
        (episodes.backbone, episodes.learned), (evaluated.backbone, evaluated.learned), states, strict=True
    ):
        assert evaluated_part is not None
        for name, tensor in before.items():
            assert torch.equal(part.state_dict()[name], tensor)
            assert torch.equal(evaluated_part.state_dict()[name], tensor)
        assert part.training and not evaluated_part.training
        assert not any(parameter.requires_grad for parameter in evaluated_part.parameters())
    assert all(parameter.grad is not None for parameter in trained_parameters(episodes))


@pytest.mark.parametrize("name", METHODS)
def test_a_few_steps_of_meta_training_lower_the_loss_of_the_queries(name: str):
    method = METHODS[name](**({"inner_steps": 8} if name == "reptile" else {"inner_learning_rate": 0.1}))
    episodes = image_episodes(method)
    assert episodes.query_labels is not None
    labels = episodes.query_labels.flatten()
    before = cross_entropy(method.classify(for_evaluation(episodes)).flatten(0, 1), labels)
    optimizer = torch.optim.SGD(trained_parameters(episodes), lr=1.0 if name == "reptile" else 0.05)
    for _ in range(8):
        optimizer.zero_grad()
        method.loss(episodes).backward()
        optimizer.step()
    after = cross_entropy(method.classify(for_evaluation(episodes)).flatten(0, 1), labels)
    assert after < 0.9 * before


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


def test_a_head_of_more_ways_uses_its_first_outputs_and_one_of_fewer_is_refused():
    method = MAML()
    wide = for_evaluation(image_episodes(method, head_ways=WAYS + 2))
    assert method.classify(wide).shape == (3, QUERIES, WAYS)
    with pytest.raises(UserError, match="meta-trained for 2 ways and an episode has 3"):
        method.classify(for_evaluation(image_episodes(method, head_ways=WAYS - 1)))


@pytest.mark.parametrize("make", [MAML, MetaSGD, Reptile])
def test_without_what_was_learned_a_line_says_what_is_missing(make: type[Method]):
    episodes = replace(image_episodes(MAML()), learned=None)
    with pytest.raises(UserError, match="--checkpoint"):
        make().classify(episodes)


@pytest.mark.parametrize("make", [MAML, ANIL, Reptile])
def test_steps_that_cannot_be_are_refused(make: type[Any]):
    with pytest.raises(UsageError, match="inner_steps"):
        make(inner_steps=0)


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
