from __future__ import annotations

import pytest
import torch

from fewbench.methods.parts.adam import Adam


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_steps_are_those_of_torch(weight_decay: float):
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(3, 4, generator=random), torch.randn(5, generator=random)]
    ours = [tensor.clone() for tensor in start]
    theirs = [tensor.clone().requires_grad_() for tensor in start]
    rates = [0.1, 0.02]
    groups = [{"params": [tensor], "lr": rate} for tensor, rate in zip(theirs, rates, strict=True)]
    adam, reference = Adam(ours, rates, weight_decay), torch.optim.AdamW(groups, weight_decay=weight_decay)
    for step in range(6):
        gradients: list[torch.Tensor | None] = [torch.randn(tensor.shape, generator=random) * 10.0**-step for tensor in start]
        if step in (1, 4):
            gradients[1] = None  # no step of this tensor
        adam.step(gradients)
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other.detach(), rtol=1e-5, atol=1e-6)


def test_a_tensor_without_a_gradient_stays():
    moved, still = torch.ones(2), torch.ones(2)
    Adam([moved, still], [0.1, 0.1], weight_decay=0.5).step([torch.ones(2), None])
    assert (moved < 1).all()
    assert torch.equal(still, torch.ones(2))


def test_leaves_that_require_grad_move_in_place():
    leaf = torch.ones(2, requires_grad=True)
    Adam([leaf], [0.1]).step([torch.ones(2)])
    assert leaf.is_leaf
    torch.testing.assert_close(leaf.detach(), torch.full((2,), 0.9))
