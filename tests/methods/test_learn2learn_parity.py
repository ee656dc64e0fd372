"""Our meta-gradients are learn2learn's: same weights, same episodes, float64. And its algorithms run as methods here."""

from __future__ import annotations

import importlib
import importlib.util
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.core.errors import UserError
from fewbench.methods.adaptation import learn2learn_adapter
from fewbench.methods.adaptation.learn2learn_adapter import Learn2LearnMAML, Learn2LearnMetaSGD, Learn2LearnMethod
from fewbench.methods.adaptation.maml import MAML
from fewbench.methods.adaptation.meta_sgd import MetaSGD
from fewbench.tasks.episodes import Episodes

needs_learn2learn = pytest.mark.skipif(
    importlib.util.find_spec("learn2learn") is None, reason="learn2learn is not installed; see learn2learn_adapter.INSTALL"
)
WAYS, SHOTS, QUERIES, SIZE, RATE = 3, 2, 6, 16, 0.2


def drawn_episodes(method: Any, count: int = 2) -> Episodes:
    random = np.random.default_rng(0)
    support_labels, query_labels = np.tile(np.arange(WAYS), SHOTS), np.tile(np.arange(WAYS), QUERIES // WAYS)
    generator = torch.Generator().manual_seed(1)
    backbone = Conv4(width=4).build(1, SIZE, generator).double()
    return Episodes(
        support=torch.from_numpy(random.normal(size=(count, WAYS * SHOTS, 1, SIZE, SIZE))),
        support_labels=torch.from_numpy(np.tile(support_labels, (count, 1))),
        query=torch.from_numpy(random.normal(size=(count, QUERIES, 1, SIZE, SIZE))),
        ways=WAYS,
        class_mask=torch.ones(count, WAYS, dtype=torch.bool),
        seeds=torch.arange(count),
        backbone=backbone,
        learned=method.learned_part(backbone, 4, WAYS, generator).double(),
        query_labels=torch.from_numpy(np.tile(query_labels, (count, 1))),
    )


def their_gradient(algorithm: Any, parameters: list[Tensor], episodes: Episodes, steps: int) -> Tensor:
    """The meta-gradient by learn2learn alone, as its examples compute it."""
    assert episodes.query_labels is not None
    losses = []
    columns = (episodes.support, episodes.support_labels, episodes.query, episodes.query_labels)
    for support, support_labels, query, query_labels in zip(*columns, strict=True):
        learner = algorithm.clone()
        for _ in range(steps):
            learner.adapt(cross_entropy(learner(support), support_labels))
        losses.append(cross_entropy(learner(query), query_labels))
    return as_vector(torch.autograd.grad(torch.stack(losses).mean(), parameters))


def our_gradient(method: Any, episodes: Episodes) -> Tensor:
    assert episodes.backbone is not None and episodes.learned is not None
    parameters = [*episodes.backbone.parameters(), *episodes.learned.parameters()]
    return as_vector(torch.autograd.grad(method.loss(episodes), parameters))


def as_vector(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def distance(gradient: Tensor, expected: Tensor) -> float:
    return float((gradient - expected).norm() / expected.norm())


@needs_learn2learn
@pytest.mark.parametrize("parallel", ["vmap", "loop"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("order", ["first", "second"])
def test_maml_has_their_meta_gradient(order: Any, steps: int, parallel: Any):
    from learn2learn.algorithms import MAML as TheirMAML  # pyright: ignore[reportMissingImports]

    method = MAML(inner_learning_rate=RATE, inner_steps=steps, order=order, parallel=parallel)
    episodes = drawn_episodes(method)
    assert episodes.backbone is not None and episodes.learned is not None
    network = nn.Sequential(deepcopy(episodes.backbone).train(), deepcopy(episodes.learned))
    theirs = TheirMAML(network, lr=RATE, first_order=order == "first")
    expected = their_gradient(theirs, list(network.parameters()), episodes, steps)
    assert distance(our_gradient(method, episodes), expected) < 1e-5


@needs_learn2learn
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("order", ["first", "second"])
def test_meta_sgd_has_their_meta_gradient(order: Any, steps: int):
    from learn2learn.algorithms import MetaSGD as TheirMetaSGD  # pyright: ignore[reportMissingImports]

    method = MetaSGD(inner_learning_rate=RATE, inner_steps=steps, order=order)
    episodes = drawn_episodes(method)
    learned: Any = episodes.learned
    assert episodes.backbone is not None
    network = nn.Sequential(deepcopy(episodes.backbone).train(), deepcopy(learned.head))
    theirs = TheirMetaSGD(network, lr=RATE, first_order=order == "first")
    expected = their_gradient(theirs, [*network.parameters(), *theirs.lrs], episodes, steps)
    assert distance(our_gradient(method, episodes), expected) < 1e-5


@needs_learn2learn
@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize(("theirs", "ours"), [(Learn2LearnMAML, MAML), (Learn2LearnMetaSGD, MetaSGD)])
def test_the_adapter_trains_and_scores_as_our_method(theirs: type[Learn2LearnMethod], ours: type[MAML], order: Any):
    settings: Any = {"inner_learning_rate": RATE, "inner_steps": 2, "test_steps": 2, "order": order}
    method = theirs(**settings)
    episodes = drawn_episodes(method)
    assert distance(our_gradient(method, episodes), our_gradient(ours(**settings), episodes)) < 1e-5
    assert episodes.backbone is not None and episodes.learned is not None
    evaluated = replace(
        episodes,
        backbone=deepcopy(episodes.backbone).eval().requires_grad_(False),
        learned=deepcopy(episodes.learned).requires_grad_(False),
        query_labels=None,
    )
    with torch.no_grad():
        scores = method.classify(evaluated)
    torch.testing.assert_close(scores, ours(**settings).classify(evaluated))
    for part, before in ((evaluated.backbone, episodes.backbone), (evaluated.learned, episodes.learned)):
        assert part is not None
        for name, tensor in before.state_dict().items():
            assert torch.equal(part.state_dict()[name], tensor)
        assert not any(parameter.requires_grad for parameter in part.parameters())


def test_without_learn2learn_a_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'")

    episodes = drawn_episodes(Learn2LearnMAML())
    monkeypatch.setattr(learn2learn_adapter.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"need learn2learn .*pip install"):
        Learn2LearnMAML().loss(episodes)
