"""Which published numbers stand beside each other: those of one task, and a paper's own beside its quotes and reruns."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .number import KINDS, PublishedNumber

Verdict = Literal["within", "above", "below"]
UNIFORM = "uniform"
ORDER = tuple(KINDS)


@dataclass(frozen=True)
class Beside:
    """A published number, and the paper's own number of the same experiment.

    Attributes:
        number: the published number.
        own: the nearest of the paper's own numbers; None where the table has none, or `number` is one itself.
    """

    number: PublishedNumber
    own: PublishedNumber | None

    @property
    def difference(self) -> float | None:
        """`number` minus `own`, in percentage points."""
        return None if self.own is None else self.number.accuracy - self.own.accuracy

    @property
    def apart(self) -> bool:
        """Whether both differ by more than the root of the sum of the squares of their half-widths.

        A number without an interval adds nothing to it. Of two numbers without one nobody can tell: False.
        """
        if self.own is None or (self.number.half_width is None and self.own.half_width is None):
            return False
        margin = margin_of(self.number.half_width, self.own.half_width)
        return verdict_of(self.number.accuracy - self.own.accuracy, margin) != "within"


def margin_of(*half_widths: float | None) -> float:
    """The root of the sum of the squares of half-widths; None adds nothing."""
    return math.hypot(*(half_width or 0.0 for half_width in half_widths))


def verdict_of(difference: float, margin: float) -> Verdict:
    """Whether a difference is `within` a margin, `above` it, or `below`."""
    return "within" if abs(difference) <= margin else "above" if difference > 0 else "below"


def published_beside(
    numbers: Sequence[PublishedNumber],
    dataset: str,
    ways: int | None,
    shots: int | None,
    method: str | None = None,
    backbone: str | None = None,
    sampler: str = UNIFORM,
) -> list[Beside]:
    """The published numbers of a task: the papers' own first, then quotes, then reruns; in each kind the best first.

    Args:
        numbers: all of the table, as `published_numbers` reads it.
        dataset: a name of ours.
        ways: classes of an episode; None: varying.
        shots: support images of a class; None: varying.
        method: a name of ours; None: every method.
        backbone: a name of ours; None: every backbone.
        sampler: a name of ours; rows of other query proportions are other tasks.
    """
    shape = (ways or "varying", shots if shots is not None else "varying")
    of_task = [number for number in numbers if number.task == (dataset, sampler, *shape)]
    found = [
        one for one in beside_own(of_task) if method in (None, one.number.method) and backbone in (None, one.number.backbone)
    ]
    return sorted(found, key=lambda one: place(one.number))


def place(number: PublishedNumber) -> tuple[int, float]:
    """A sort key: the paper's own numbers, then quotes, then reruns; in each kind the best first."""
    return ORDER.index(number.kind), -number.accuracy


def beside_own(numbers: Iterable[PublishedNumber]) -> list[Beside]:
    """Every number with the nearest of the paper's own numbers of the same experiment.

    An experiment is a method, backbone, pretraining, task and setting; one whose backbone is not stated is compared with none.
    """
    numbers = list(numbers)
    own: dict[tuple[object, ...], list[PublishedNumber]] = defaultdict(list)
    for number in numbers:
        if number.kind == "paper":
            own[experiment_of(number)].append(number)
    return [Beside(number, _nearest(number, own.get(experiment_of(number), ()))) for number in numbers]


def experiment_of(number: PublishedNumber) -> tuple[object, ...]:
    """What a number and its quotes and reruns have in common."""
    return number.method, number.backbone, number.pretraining, number.task, number.setting


def _nearest(number: PublishedNumber, own: Sequence[PublishedNumber]) -> PublishedNumber | None:
    if number.kind == "paper" or not number.backbone_stated:
        return None
    return min(own, key=lambda one: abs(one.accuracy - number.accuracy), default=None)
