"""CLIP zero-shot's scores, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fewbench.core.errors import UserError
from fewbench.methods.vision_language.clip_zero_shot import ClipZeroShot


def test_scores_are_100_times_the_cosine_with_the_text(make_episodes):
    episodes = make_episodes(count=1, ways=2, width=2, queries=2)
    text = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    query = torch.tensor([[[3.0, 4.0], [-2.0, 0.0]]])
    scores = ClipZeroShot().classify(replace(episodes, text=text, query=query))
    torch.testing.assert_close(scores, torch.tensor([[[60.0, 80.0], [-100.0, 0.0]]]))


def test_the_support_is_not_used(make_episodes):
    episodes = make_episodes()
    other = replace(episodes, support=-episodes.support, support_labels=episodes.support_labels.flip(1))
    assert torch.equal(ClipZeroShot().classify(other), ClipZeroShot().classify(episodes))


def test_episodes_without_text_are_told_the_cure(make_episodes):
    with pytest.raises(UserError, match="--backbone clip-tiny"):
        ClipZeroShot().classify(replace(make_episodes(), text=None))
