"""Scores of queries against points."""

from __future__ import annotations

import torch

from fewbench.methods.parts.similarity import distance_scores, dot_products


def test_dot_products_are_those_of_every_query_with_every_point():
    query, points = torch.randn(3, 7, 5), torch.randn(3, 4, 5)
    expected = (query[:, :, None] * points[:, None]).sum(dim=-1)
    torch.testing.assert_close(dot_products(query, points), expected)


def test_distance_scores_differ_between_classes_as_squared_distances_do_far_from_the_origin():
    generator = torch.Generator().manual_seed(0)
    query = 1e3 + torch.randn(3, 7, 5, generator=generator)
    points = 1e3 + torch.randn(3, 4, 5, generator=generator)
    scores = distance_scores(query, points, torch.ones(3, 4, dtype=torch.bool))
    expected = -torch.cdist(query.double(), points.double()).square()
    torch.testing.assert_close((scores - scores[..., :1]).double(), expected - expected[..., :1], rtol=1e-3, atol=2e-3)


def test_distance_scores_are_counted_from_the_mean_of_the_present_classes():
    query, points = torch.randn(1, 7, 5), torch.randn(1, 4, 5)
    points[:, 3] = 0
    scores = distance_scores(query, points, torch.tensor([[True, True, True, False]]))
    centre = points[:, :3].mean(dim=1, keepdim=True)
    expected = torch.cdist(query, centre).square() - torch.cdist(query, points).square()
    torch.testing.assert_close(scores[..., :3], expected[..., :3], rtol=1e-4, atol=1e-4)
