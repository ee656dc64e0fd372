"""Scores and accuracies of transductive methods beside easyfsl's, on the same features and episodes.

easyfsl does not scale features to length 1, so that it is given features of that length here. Its TIM and its fine-tuning score
by cosine or by distance without the square, where the paper's scores are squared distances: there accuracies are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fewbench.methods.base import Method
from fewbench.methods.transductive.bd_cspn import BDCSPN
from fewbench.methods.transductive.joint import Joint
from fewbench.methods.transductive.laplacian_shot import LaplacianShot
from fewbench.methods.transductive.pt_map import PTMAP
from fewbench.methods.transductive.tim import TIM
from fewbench.methods.transductive.transductive_finetuning import TransductiveFinetuning
from fewbench.tasks.episodes import Episodes

easyfsl: Any = pytest.importorskip("easyfsl.methods")
WAYS, SHOTS, QUERIES, WIDTH, COUNT = 5, 2, 6, 64, 40
TRUE = torch.arange(WAYS).repeat(QUERIES)


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    """Episodes of features of length 1 whose classes overlap; easyfsl is right about two times in three."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(COUNT, WAYS, WIDTH)) / 2.2 + 1
    labels = np.tile(np.arange(WAYS), SHOTS)

    def drawn(of: np.ndarray) -> Tensor:
        return normalize(torch.from_numpy(centres[:, of] + random.normal(size=(COUNT, len(of), WIDTH))).float(), dim=-1)

    mask = torch.ones(COUNT, WAYS, dtype=torch.bool)
    support_labels = torch.from_numpy(np.tile(labels, (COUNT, 1)))
    return Episodes(drawn(labels), support_labels, drawn(TRUE.numpy()), WAYS, mask, torch.arange(COUNT))


def theirs(classifier: Any, episodes: Episodes) -> Tensor:
    """Scores [E, Q, N] by easyfsl, task by task."""
    scores = []
    for support, labels, query in zip(episodes.support, episodes.support_labels, episodes.query, strict=True):
        classifier.process_support_set(support, labels)
        scores.append(classifier(query))
    return torch.stack(scores)


def ours(method: Method, episodes: Episodes) -> Tensor:
    with torch.no_grad():
        return method.classify(episodes)


def accuracy(scores: Tensor) -> float:
    return (scores.argmax(dim=2) == TRUE).float().mean().item()


def test_bd_cspn(episodes: Episodes):
    torch.testing.assert_close(ours(BDCSPN(scale=1), episodes), theirs(easyfsl.BDCSPN(), episodes), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("knn", [3, 5])
def test_laplacian_shot(episodes: Episodes, knn: int):
    expected = theirs(easyfsl.LaplacianShot(knn=knn, inference_steps=20), episodes)
    scores = ours(LaplacianShot(neighbours=knn, scale=1), episodes)
    torch.testing.assert_close(scores.softmax(dim=2), expected, rtol=1e-4, atol=1e-4)


def test_pt_map(episodes: Episodes):
    """Centring and lengths are steps of ours alone: easyfsl is given what they make, moved to positive numbers."""
    joint = PTMAP().transformed(Joint.of(episodes, normalised=False))
    moved = Episodes(**{**vars(episodes), "support": joint.support.double() + 2, "query": joint.query.double() + 2})
    expected = theirs(easyfsl.PTMAP(power_factor=1.0, fine_tuning_steps=10), moved)
    torch.testing.assert_close(ours(PTMAP(steps=10), episodes).double(), expected, rtol=1e-4, atol=1e-4)


def test_tim(episodes: Episodes):
    settings = {"fine_tuning_steps": 25, "fine_tuning_lr": 2e-3, "cross_entropy_weight": 0.1, "temperature": 15.0}
    expected = accuracy(theirs(easyfsl.TIM(torch.nn.Identity(), **settings), episodes))
    plain = accuracy(ours(TIM(steps=0), episodes))
    found = accuracy(ours(TIM(solver="gd", steps=25, learning_rate=2e-3), episodes))
    assert plain + 0.05 < expected == pytest.approx(found, abs=0.015)


def test_transductive_finetuning(episodes: Episodes):
    expected = accuracy(theirs(easyfsl.TransductiveFinetuning(torch.nn.Identity(), temperature=10.0), episodes))
    found = accuracy(ours(TransductiveFinetuning(learning_rate=5e-5), episodes))
    assert 0.3 < expected == pytest.approx(found, abs=0.005)
