"""MAML and its kin on a small Conv-4: the contract of a method, and that training helps."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from fewbench.core.errors import UsageError, UserError
from fewbench.methods.adaptation.anil import ANIL
from fewbench.methods.adaptation.fomaml import FirstOrderMAML
from fewbench.methods.adaptation.maml import MAML
from fewbench.methods.adaptation.meta_sgd import MetaSGD
from fewbench.methods.adaptation.reptile import Reptile
from fewbench.methods.base import Method

from .conftest import QUERIES, WAYS, assert_same, for_evaluation, image_episodes, padded, taken, trained_parameters

QUICK_REPTILE = {"test_steps": 4, "inner_learning_rate": 0.01}
METHODS: dict[str, Callable[..., Method]] = {
    "maml": MAML,
    "fomaml": FirstOrderMAML,
    "meta-sgd": MetaSGD,
    "reptile": lambda **settings: Reptile(**{**QUICK_REPTILE, **settings}),
}


@pytest.fixture(params=[(name, statistics) for name in METHODS for statistics in ("queries", "support")], ids="-".join)
def method(request: pytest.FixtureRequest) -> Method:
    name, statistics = request.param
    return METHODS[name](statistics=statistics)


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
