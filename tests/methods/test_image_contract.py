"""What every method that adapts a backbone keeps to: the contract of test_contract.py on images, and an untouched backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fewbench.methods.adaptation.finetune import Finetune
from fewbench.methods.adaptation.pmf import PMF
from fewbench.methods.base import Method
from fewbench.tasks.episodes import Episodes

CASES: dict[str, tuple[Method, str]] = {
    "finetune full": (Finetune(steps=3), "full"),
    "finetune norm, augmented": (Finetune(steps=3, augmentation=True), "norm"),
    "finetune head, augmented": (Finetune(steps=3, augmentation=True), "head"),
    "finetune prompt": (Finetune(steps=3), "prompt"),
    "finetune prompt-pool": (Finetune(steps=3), "prompt-pool"),
    "finetune last-block, support statistics": (Finetune(steps=3, statistics="support"), "last-block"),
    "finetune none, support statistics": (Finetune(statistics="support"), "none"),
    "finetune full, query statistics": (Finetune(steps=3, statistics="queries"), "full"),
    "finetune head, query statistics": (Finetune(steps=3, statistics="queries"), "head"),
    "finetune last-block": (Finetune(steps=3), "last-block"),
    "pmf full": (PMF(learning_rate=1e-3, steps=3), "full"),
    "pmf last-block, together": (PMF(learning_rate=1e-3, steps=3, copies=2, parallel="vmap"), "last-block"),
    "pmf norm, no step": (PMF(learning_rate=0.0), "norm"),
    "pmf last-block, rate by the support": (PMF(learning_rate="auto-support", steps=2), "last-block"),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Method, str]:
    return CASES[request.param]


@pytest.fixture
def method(case: tuple[Method, str]) -> Method:
    assert case[0].inputs_with(case[1]) == "images"
    return case[0]


@pytest.fixture(params=["equal", "unequal"])
def episodes(
    request: pytest.FixtureRequest, case: tuple[Method, str], make_episodes, make_unequal_episodes, make_images
) -> Episodes:
    method, tune = case
    if method.transductive and request.param == "unequal":
        pytest.skip("padded queries would be among the others")
    make = make_episodes if request.param == "equal" else make_unequal_episodes
    images = make_images(make(count=3, ways=4, queries=5, width=48), tune)
    assert images.backbone is not None
    part = method.learned_part(images.backbone, 4, images.ways, torch.Generator().manual_seed(0))
    return replace(images, learned=part and part.eval().requires_grad_(False))


def taken(episodes: Episodes, index: Tensor) -> Episodes:
    columns = ("support", "support_labels", "query", "class_mask", "seeds")
    return replace(episodes, **{name: getattr(episodes, name)[index] for name in columns})


def scores_of(method: Method, episodes: Episodes) -> Tensor:
    """As a run calls it, without gradients; 0 where an episode has no such class."""
    with torch.no_grad():
        scores = method.classify(episodes)
    assert scores.shape == (len(episodes), episodes.query.shape[1], episodes.ways)
    assert not scores.requires_grad
    return scores.masked_fill(~episodes.class_mask[:, None], 0)


def assert_same(scores: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3)  # of scores up to 10


def test_permuted_episodes_permute_the_scores(method: Method, episodes: Episodes):
    order = torch.tensor([2, 0, 1])
    assert_same(scores_of(method, taken(episodes, order)), scores_of(method, episodes)[order])


def test_the_batch_size_changes_nothing(method: Method, episodes: Episodes):
    parts = [scores_of(method, taken(episodes, index)) for index in torch.arange(len(episodes)).split(2)]
    assert_same(torch.cat(parts), scores_of(method, episodes))


def test_permuted_queries_permute_the_scores(method: Method, episodes: Episodes):
    order = torch.tensor([3, 2, 0, 4, 1])
    permuted = replace(episodes, query=episodes.query[:, order])
    assert_same(scores_of(method, permuted), scores_of(method, episodes)[:, order])


def test_other_queries_matter_to_a_transductive_method_alone(method: Method, episodes: Episodes):
    others = replace(episodes, query=torch.cat([episodes.query[:, :2], 9 * episodes.query[:, 2:].flip(0)], dim=1))
    before, after = scores_of(method, episodes)[:, :2], scores_of(method, others)[:, :2]
    if method.transductive:
        assert (after - before).abs().max() > 0.1
    else:
        assert_same(after, before)


def test_further_padding_changes_nothing(method: Method, episodes: Episodes):
    if method.transductive:
        pytest.skip("padded queries would be among the others")

    def longer(images: Tensor, places: int) -> Tensor:
        return torch.cat([images, torch.full_like(images[:, :1], 77).expand(-1, places, -1, -1, -1)], dim=1)

    padded = replace(
        episodes,
        support=longer(episodes.support, 3),
        support_labels=torch.nn.functional.pad(episodes.support_labels, (0, 3), value=-1),
        query=longer(episodes.query, 2),
        class_mask=torch.nn.functional.pad(episodes.class_mask, (0, 2), value=False),
        ways=episodes.ways + 2,
    )
    queries, ways = episodes.query.shape[1], episodes.ways
    assert_same(scores_of(method, padded)[:, :queries, :ways], scores_of(method, episodes))


def test_nothing_is_left_behind(method: Method, episodes: Episodes):
    assert episodes.backbone is not None
    flags = {name: value.requires_grad for name, value in episodes.backbone.named_parameters()}
    state: dict[str, Any] = {name: value.clone() for name, value in episodes.backbone.state_dict().items()}
    columns = {name: value.clone() for name, value in vars(episodes).items() if isinstance(value, Tensor)}
    random = torch.get_rng_state()
    before = scores_of(method, episodes)
    assert torch.equal(scores_of(method, episodes), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert {name: value.requires_grad for name, value in episodes.backbone.named_parameters()} == flags
    assert all(value.grad is None for value in episodes.backbone.parameters())
    assert not any(layer.training for layer in episodes.backbone.modules())
    for name, value in state.items():
        assert torch.equal(episodes.backbone.state_dict()[name], value)
    for name, value in columns.items():
        assert torch.equal(getattr(episodes, name), value)
