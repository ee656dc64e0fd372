"""Tip-Adapter's scores, by hand and from the formula."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fewbench.core.errors import UsageError
from fewbench.methods.vision_language.tip_adapter import TipAdapter
from fewbench.tasks.episodes import Episodes


def test_scores_by_hand(make_episodes):
    episodes = replace(
        make_episodes(count=1, ways=2, width=2),
        support=torch.tensor([[[5.0, 0.0], [0.0, 2.0], [50.0, 50.0]]]),
        support_labels=torch.tensor([[0, 1, -1]]),
        query=torch.tensor([[[3.0, 0.0]]]),
        text=torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]),
    )
    # The query lies on the first key, at a right angle to the second: 2 · exp(0) and 2 · exp(−log 4).
    scores = TipAdapter(alpha=2.0, beta=math.log(4)).classify(episodes)
    torch.testing.assert_close(scores, torch.tensor([[[0 + 2.0, 100 + 0.5]]]))


@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_scores_follow_the_formula(kind: str, make_episodes, make_unequal_episodes):
    episodes: Episodes = make_episodes() if kind == "equal" else make_unequal_episodes()
    scores = TipAdapter(alpha=3.0, beta=5.5).classify(episodes)
    assert episodes.text is not None
    for i in range(len(episodes)):
        ways, present = int(episodes.class_mask[i].sum()), episodes.support_labels[i] >= 0
        keys, query = (x.double().numpy() for x in (episodes.support[i, present], episodes.query[i]))
        keys, query = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (keys, query))
        values = np.eye(ways)[episodes.support_labels[i, present].numpy()]
        text = episodes.text[i, :ways].double().numpy()
        expected = 100 * query @ text.T + 3 * np.exp(-5.5 * (1 - query @ keys.T)) @ values
        np.testing.assert_allclose(scores[i, :, :ways].numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("values", [{"alpha": 0.0}, {"beta": -1.0}])
def test_numbers_that_must_be_positive_are_refused_otherwise(values: dict[str, float]):
    with pytest.raises(UsageError, match=r"TipAdapter: .*: above 0"):
        TipAdapter(**values)
