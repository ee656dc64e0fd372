"""The blend's scores, by hand, and its two ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from fewbench.core.errors import UsageError
from fewbench.methods.base import class_means
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.methods.vision_language.clip_zero_shot import ClipZeroShot
from fewbench.methods.vision_language.proto_text import ProtoText
from fewbench.tasks.episodes import Episodes


def test_scores_are_the_blended_cosines(make_episodes):
    episodes = replace(
        make_episodes(count=1, ways=2, shots=1, width=2, queries=1),
        support=torch.tensor([[[1.0, 0.0], [0.0, 2.0], [0.0, 7.0]]]),
        support_labels=torch.tensor([[0, 1, -1]]),
        query=torch.tensor([[[3.0, 4.0]]]),
        text=torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]),
    )
    # cosines with the prototypes 0.6 and 0.8, with the texts 0.8 and 0.6
    torch.testing.assert_close(ProtoText(weight=0.25).classify(episodes), torch.tensor([[[65.0, 75.0]]]))


@pytest.fixture(params=["equal", "unequal"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    return make_episodes() if request.param == "equal" else make_unequal_episodes()


def test_a_weight_of_1_is_zero_shot(episodes: Episodes):
    torch.testing.assert_close(ProtoText(weight=1.0).classify(episodes), ClipZeroShot().classify(episodes))


def test_a_weight_of_0_is_a_prototypical_network_with_cosines_of_features_of_length_1(episodes: Episodes):
    at_length_1 = replace(episodes, support=normalize(episodes.support, dim=-1))
    expected = ProtoNet(distance="cosine", scale=100).classify(at_length_1)
    mask = episodes.class_mask[:, None].expand_as(expected)
    torch.testing.assert_close(ProtoText(weight=0.0).classify(episodes)[mask], expected[mask], rtol=1e-4, atol=1e-4)


def test_prototypes_are_scaled_to_length_1(make_episodes):
    """Two opposite shots and an aligned pair count the same: without it the first class's cosines would be small."""
    episodes = make_episodes(count=1, ways=2, shots=2, width=3)
    support = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, -1.0, 0.0], [0.0, 0.0, 3.0]]])
    episodes = replace(episodes, support=support, query=torch.tensor([[[1.0, 0.0, 0.0]]]))
    assert class_means(normalize(support, dim=-1), episodes.support_labels, 2)[0, 0].norm() < 0.8
    torch.testing.assert_close(ProtoText(weight=0.0).classify(episodes), torch.tensor([[[100.0, 0.0]]]))


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_that_is_no_blend_is_refused(weight: float):
    with pytest.raises(UsageError, match="from 0 to 1"):
        ProtoText(weight=weight)
