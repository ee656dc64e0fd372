"""Methods that use unlabelled images, against the same written out for one episode at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fewbench.methods.linear.ridge import Ridge
from fewbench.methods.linear.self_training import SelfTraining, most_confident
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.methods.transductive.soft_kmeans import SoftKMeans
from fewbench.tasks.episodes import Episodes

Array = np.ndarray


@pytest.fixture(params=["equal", "unequal"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    found = make_episodes() if request.param == "equal" else make_unequal_episodes()
    further = make_episodes(count=len(found), queries=4, seed=8).query
    return replace(found, unlabelled=further)


def squared_distances(x: Array, points: Array) -> Array:
    return ((x[:, None] - points[None]) ** 2).sum(axis=2)


def means_of(rows: Array, labels: Array, ways: int) -> Array:
    return np.stack([rows[labels == n].mean(axis=0) for n in range(ways)])


def parts_of(episodes: Episodes, i: int) -> tuple[Array, Array, Array, Array, int]:
    assert episodes.unlabelled is not None
    there = episodes.support_labels[i] >= 0
    support, query, further = (
        one.double().numpy() for one in (episodes.support[i, there], episodes.query[i], episodes.unlabelled[i])
    )
    return support, episodes.support_labels[i, there].numpy(), query, further, int(episodes.class_mask[i].sum())


def test_self_training_adds_the_surest_images_of_each_class(episodes: Episodes):
    scores = SelfTraining(classifier="protonet", rounds=2, confident=2).classify(episodes)
    for i in range(len(episodes)):
        support, labels, query, further, ways = parts_of(episodes, i)
        rows, known = support, labels
        for count in (2, 4):
            distance = np.sort(squared_distances(further, means_of(rows, known, ways)), axis=1)
            margin = distance[:, 1] - distance[:, 0]
            given = squared_distances(further, means_of(rows, known, ways)).argmin(axis=1)
            surest = [np.flatnonzero(given == n)[(-margin[given == n]).argsort()][:count] for n in range(ways)]
            chosen = np.concatenate(surest)
            rows, known = np.concatenate([support, further[chosen]]), np.concatenate([labels, given[chosen]])
        expected = -squared_distances(query, means_of(rows, known, ways))
        found = scores[i, :, :ways].double().numpy()
        np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-4)


def test_without_unlabelled_images_it_is_its_classifier(episodes: Episodes):
    plain = replace(episodes, unlabelled=None)
    assert torch.equal(SelfTraining().classify(plain), Ridge().classify(plain))
    assert torch.equal(SelfTraining(classifier="protonet", rounds=0).classify(episodes), ProtoNet().classify(plain))


def test_pseudo_labels_are_no_class_that_an_episode_lacks():
    scores = torch.tensor([[[1.0, 2.0, 9.0], [3.0, 1.0, 9.0], [5.0, 0.0, 9.0]]])
    assert most_confident(scores, torch.tensor([[True, True, False]]), 1).tolist() == [[1, -1, 0]]


def test_soft_kmeans_refines_with_unlabelled_images_and_answers_each_query_alone(episodes: Episodes):
    scores = SoftKMeans(scale=5.0).classify(episodes)
    for i in range(len(episodes)):
        support, labels, query, further, ways = parts_of(episodes, i)
        support, query, further = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (support, query, further))
        logits = -5 * squared_distances(further, means_of(support, labels, ways))
        soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        parts = np.concatenate([labels[:, None] == np.arange(ways), soft])
        refined = parts.T @ np.concatenate([support, further]) / parts.sum(axis=0)[:, None]
        expected = -5 * squared_distances(query, refined)
        found = scores[i, :, :ways].double().numpy()
        np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-4)
    alone = SoftKMeans(scale=5.0).classify(replace(episodes, query=episodes.query[:, :1], query_mask=None))
    torch.testing.assert_close(alone - alone[..., :1], scores[:, :1] - scores[:, :1, :1], rtol=1e-4, atol=1e-4)
