from __future__ import annotations

import torch
from torch import Tensor

from fewbench.methods.parts.augmentation import pseudo_queries
from fewbench.methods.parts.pmf_finetuning import Supports
from fewbench.methods.parts.support_folds import COPIES, FIRST_COPY, folds_of


def supports_of(labels: list[int]) -> Supports:
    """Image number i is full of i."""
    images = torch.arange(len(labels)).float()[None, :, None, None, None].expand(1, -1, 3, 4, 4)
    ways = max(labels) + 1
    return Supports(images, torch.tensor([labels]), torch.ones(1, ways, dtype=torch.bool), torch.tensor([7]))


def rows(images: Tensor) -> list[int]:
    return images[0, :, 0, 0, 0].int().tolist()


def test_each_shot_is_held_out_once():
    folds = folds_of(supports_of([0, 1, 0, 1, 1, 0]), flip=False)
    assert [(rows(fold.supports.images), rows(fold.images)) for fold in folds] == [
        ([2, 3, 4, 5], [0, 1]),
        ([0, 1, 4, 5], [2, 3]),
        ([0, 1, 2, 3], [4, 5]),
    ]
    assert [(fold.supports.labels[0].tolist(), fold.labels.tolist()) for fold in folds] == [
        ([0, 1, 1, 0], [0, 1]),
        ([0, 1, 1, 0], [0, 1]),
        ([0, 1, 0, 1], [1, 0]),
    ]


def test_a_class_keeps_its_only_shot():
    folds = folds_of(supports_of([0, 1, 0]), flip=False)
    assert [(rows(fold.supports.images), rows(fold.images), fold.labels.tolist()) for fold in folds] == [
        ([1, 2], [0], [0]),
        ([0, 1], [2], [0]),
    ]


def test_of_many_shots_the_first_are_held_out():
    assert len(folds_of(supports_of([0, 1] * 9), flip=False)) == 5


def test_of_one_shot_changed_copies_are_held_out():
    supports = supports_of([1, 0])
    (fold,) = folds_of(supports, flip=True)
    assert fold.supports is supports
    assert fold.labels.tolist() == [1, 0] * COPIES
    assert torch.equal(fold.images[:, 2:4], pseudo_queries(supports.images, supports.seeds, FIRST_COPY + 1, True))
