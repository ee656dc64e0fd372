"""Episodes as tasks without padding, and the classifier on the backbone, for methods that adapt a meta-trained classifier.

Letters in shape comments: E episodes, N ways, W outputs of the head, S support rows, Q query rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from ...core.errors import UserError
from ...tasks.episodes import Episodes


class Head(nn.Linear):
    """A linear classifier whose initial weights come from a generator that is passed: Glorot-uniform, and biases of zero."""

    def __init__(self, width: int, ways: int, generator: Generator) -> None:
        """Make the classifier of features [.., width] into `ways` classes."""
        super().__init__(width, ways)
        nn.init.xavier_uniform_(self.weight, generator=generator)
        nn.init.zeros_(self.bias)

    def reset_parameters(self) -> None:
        """Do nothing: torch's initialisation would draw from the global generator."""


class Task(NamedTuple):
    """One episode without padding, or (every tensor with a leading E) several of one shape.

    Attributes:
        support: float [S, C, H, W].
        support_labels: int64 [S].
        query: float [Q, C, H, W].
        query_labels: int64 [Q]; empty where they are not known.
        classes: bool [W], the outputs of the head that stand for a class.
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor
    classes: Tensor


def tasks_of(episodes: Episodes, outputs: int) -> list[Task]:
    """Each episode without its padding.

    Args:
        episodes: with images, and with `query_labels` in training.
        outputs: W of the head that was meta-trained; episodes with fewer classes use the first of them.

    Raises:
        UserError: an episode has more classes than the head.
    """
    classes = fitted_classes(episodes, outputs)
    tasks = []
    for episode, labels in enumerate(episodes.support_labels):
        present = labels >= 0
        support, query = episodes.support[episode, present], episodes.query[episode]
        query_labels = labels[:0]
        if episodes.query_labels is not None:
            query_labels = episodes.query_labels[episode]
            query, query_labels = query[query_labels >= 0], query_labels[query_labels >= 0]
        tasks.append(Task(support, labels[present], query, query_labels, classes[episode]))
    return tasks


def stacked(tasks: Sequence[Task]) -> Task | None:
    """The tasks as one with a leading E in every tensor; None where they are not all of one shape."""
    shapes = {tuple(tensor.shape for tensor in task) for task in tasks}
    return Task(*(torch.stack(column) for column in zip(*tasks, strict=True))) if len(shapes) == 1 else None


def fitted_classes(episodes: Episodes, outputs: int) -> Tensor:
    """Which of a head's outputs stand for a class of the episode, bool [E, W].

    Raises:
        UserError: an episode has more classes than there are outputs.
    """
    if episodes.class_mask[:, outputs:].any():
        most = int(episodes.class_mask.sum(dim=1).max())
        raise UserError(f"the classifier was meta-trained for {outputs} ways and an episode has {most}: take --ways {outputs}")
    return pad(episodes.class_mask, (0, outputs - episodes.ways), value=False)  # cuts, where that is negative


def fitted_scores(scores: Tensor, ways: int) -> Tensor:
    """Scores [E, Q, W] of a head as scores [E, Q, N]; classes that the head does not have are none of the episode's."""
    return pad(scores, (0, ways - scores.shape[-1]))


def check_no_padding(episodes: Episodes) -> None:
    """Refuse padding, which a method that uses the queries together cannot tell from queries.

    Raises:
        UserError: episodes are of unequal shape.
    """
    if episodes.padded:
        raise UserError(
            "batch norm by the queries needs episodes of one shape; maml and reptile can do without: --set statistics=support"
        )
