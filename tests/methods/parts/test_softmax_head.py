"""The reduced coordinates for training on a support set."""

from __future__ import annotations

import pytest
import torch

from fewbench.methods.parts.softmax_head import SupportSpan

SUPPORTS = {
    "fewer images than features": torch.randn(3, 4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    "more images than features": torch.randn(3, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
    "all images the same": torch.ones(3, 4, 9, dtype=torch.float64),
    "all zero": torch.zeros(3, 4, 9, dtype=torch.float64),
}


@pytest.mark.parametrize("support", SUPPORTS.values(), ids=list(SUPPORTS))
def test_dot_products_with_the_support_and_lengths_stay_the_same(support: torch.Tensor):
    weights = torch.randn(3, 2, support.shape[2], dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    span = SupportSpan.of(support, weights)
    assert span.support.shape[2] == min(support.shape[1:]) + 1
    expected = torch.bmm(weights, support.transpose(1, 2))
    torch.testing.assert_close(torch.bmm(span.weights, span.support.transpose(1, 2)), expected)
    torch.testing.assert_close(span.weights.norm(dim=-1), weights.norm(dim=-1))


@pytest.mark.parametrize("support", SUPPORTS.values(), ids=list(SUPPORTS))
def test_weights_moved_along_the_support_come_back_in_the_original_coordinates(support: torch.Tensor):
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(3, 2, support.shape[2], dtype=torch.float64, generator=generator)
    step = torch.randn(3, 2, support.shape[1], dtype=torch.float64, generator=generator)
    span = SupportSpan.of(support, weights)
    moved = 0.5 * span.weights + torch.bmm(step, span.support)
    torch.testing.assert_close(span.expanded(moved), 0.5 * weights + torch.bmm(step, support))
