"""Linear readouts: logistic regressions from the numbers of a layer to the values of an attribute.

Letters in shape comments: n images, D numbers of a layer, V values of the attribute.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...methods.base import Episodes
from ...methods.linear.linear_probe import LinearProbe

COSTS = (1e-4, 1e-3, 1e-2, 1e-1)  # candidates of C, the weight of the cross-entropies relative to the penalty


class Labelled(NamedTuple):
    """Numbers of a layer float [n, D], and the number of the attribute's value int64 [n]."""

    numbers: Tensor
    values: Tensor


class Found(NamedTuple):
    """A readout's accuracy on the test images, and the C that the val images chose."""

    accuracy: float
    cost: float


def read_out(fit: Labelled, val: Labelled, test: Labelled, values: int) -> Found:
    """Fit a logistic regression and test it. Numbers are scaled to mean 0 and deviation 1 over the images of the fit.

    Args:
        fit: what it is fitted to.
        val: chooses among the candidates of C by accuracy; of equals the smallest wins.
        test: what its accuracy is of.
        values: V; values of images count from 0.
    """
    mean, deviation = fit.numbers.mean(dim=0), fit.numbers.std(dim=0)
    scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), 1 / deviation, 0.0)
    support, query = ((part - mean) * scale for part in (fit.numbers, torch.cat([val.numbers, test.numbers])))
    episodes = Episodes(
        support=support[None],
        support_labels=fit.values[None],
        query=query[None],
        ways=values,
        class_mask=torch.ones(1, values, dtype=torch.bool),
        seeds=torch.zeros(1, dtype=torch.int64),
    )
    candidates = [LinearProbe(C=cost) for cost in COSTS]
    best: tuple[float, Found] | None = None
    for cost, scores in zip(COSTS, candidates[0].classify_each(episodes, candidates), strict=True):
        right = scores[0].argmax(dim=1) == torch.cat([val.values, test.values])
        chosen, accuracy = right[: len(val.values)].double().mean().item(), right[len(val.values) :].double().mean().item()
        if best is None or chosen > best[0]:
            best = chosen, Found(accuracy, cost)
    assert best is not None
    return best[1]
