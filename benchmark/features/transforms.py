"""Transforms of features, in the order that a user gives (`--features l2,center,power:0.5`), before any method sees them.

    l2            scale each feature to length 1
    center        subtract the mean of the train features
    center-task   subtract the mean of the episode's support features
    power:B       sign(x) · |x| to the power of B, coordinate by coordinate
    zscore        mean 0 and deviation 1 over the coordinates of each feature
    pca:N         the first N principal components of the train features

Each step works on what the steps before it made, the train features of `center` and `pca` too. No step looks at queries, so
that an inductive method stays inductive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...core.errors import UsageError, did_you_mean
from .rows import chunks
from .table import FeatureTable

SMALLEST = 1e-12  # lower bound of a deviation
POWER = 0.5  # of `power` without a number: Hu, Gripon and Pateux 2021, arXiv:2006.03806
NUMBERED = {"power": POWER, "pca": None}  # steps with a number, and what stands for it
OF_ROWS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "l2": lambda rows, _: normalize(rows, dim=-1),
    "power": lambda rows, power: rows.sign() * rows.abs().pow(power),
    # Fei, Gao, Lu and Xiang 2021, "Z-score normalization, hubness, and few-shot learning", ICCV.
    "zscore": lambda rows, _: (
        (rows - rows.mean(-1, keepdim=True)) / rows.std(-1, correction=0, keepdim=True).clamp(min=SMALLEST)
    ),
}
OF_TRAIN = ("center", "pca")
OF_TASK = "center-task"
KNOWN = (*OF_ROWS, *OF_TRAIN, OF_TASK)


@dataclass(frozen=True)
class Step:
    """One transform.

    Attributes:
        name: one of `KNOWN`.
        number: exponent or number of components; 0 where the step has none.
        train_mean: float32 [D], for the steps that need the train split.
        components: float32 [D, N], orthonormal columns, for pca.
    """

    name: str
    number: float = 0.0
    train_mean: Tensor | None = None
    components: Tensor | None = None

    def __str__(self) -> str:
        """As a user writes it, with its number."""
        return f"{self.name}:{self.number:g}" if self.name in NUMBERED else self.name

    def of_rows(self, rows: Tensor) -> Tensor:
        """Transform features [..., D]; a step of the task leaves them as they are."""
        if self.name in OF_ROWS:
            return OF_ROWS[self.name](rows, self.number)
        moved = rows if self.train_mean is None else rows - self.train_mean
        return moved if self.components is None else moved @ self.components

    def fitted(self, table: FeatureTable, before: tuple[Step, ...]) -> Step:
        """The step with the statistics of the train features, to which the steps before were done."""
        if self.name not in OF_TRAIN:
            return self
        mean, count = np.zeros(0), len(table.features)
        for rows in _after(table, before):
            mean = rows.sum(axis=0) / count + (mean if len(mean) else 0)
        train_mean = torch.from_numpy(mean.astype(np.float32)).to(table.device)
        if self.name == "center":
            return Step(self.name, self.number, train_mean)
        scatter = sum(np.dot((rows - mean).T, rows - mean) for rows in _after(table, before))
        _, vectors = np.linalg.eigh(scatter)  # the largest last
        components = vectors[:, ::-1][:, : int(self.number)]
        signs = np.sign(np.take_along_axis(components, np.abs(components).argmax(axis=0)[None], axis=0))
        chosen = torch.from_numpy(np.ascontiguousarray(components * signs, np.float32)).to(table.device)
        return Step(self.name, self.number, train_mean, chosen)


@dataclass(frozen=True)
class Transforms:
    """The transforms of a run, in their order; none leave the features as they are."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Transforms:
        """Read `l2,power:0.5`; None is no transform.

        Raises:
            UsageError: an unknown transform, a number that it cannot have, or an order that has no meaning.
        """
        steps = tuple(_step(part.strip(), text) for part in text.split(",")) if text is not None else ()
        names = [step.name for step in steps]
        if OF_TASK in names and {*names[names.index(OF_TASK) :]} & {*OF_TRAIN}:
            raise UsageError(f"--features {text}: put {OF_TASK} last, since the train features have no task to be centred on")
        return cls(steps)

    def __str__(self) -> str:
        """As a user writes them, each with its number."""
        return ",".join(map(str, self.steps))

    @property
    def components(self) -> int:
        """The largest number of principal components that is asked for; 0 without any."""
        return max((int(step.number) for step in self.steps if step.name == "pca"), default=0)

    @property
    def use_train(self) -> bool:
        """Whether the features of the train split are needed."""
        return any(step.name in OF_TRAIN for step in self.steps)

    def fitted(self, train: FeatureTable) -> Transforms:
        """The transforms with the statistics of the train features."""
        steps: tuple[Step, ...] = ()
        for step in self.steps:
            steps = (*steps, step.fitted(train, steps))
        return Transforms(steps)

    def of_table(self, table: FeatureTable) -> FeatureTable:
        """The table of the train features after all steps but that of the task."""
        if not self.steps:
            return table
        return FeatureTable.of(np.concatenate([rows.astype(np.float32) for rows in _after(table, self.steps)]), table.device)

    def of_episodes(self, support: Tensor, support_labels: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Transform support [E, S, D] and queries [E, Q, D]; label −1 says which support places are padding."""
        for step in self.steps:
            support, query = step.of_rows(support), step.of_rows(query)
            if step.name == OF_TASK:
                there = (support_labels >= 0)[..., None].to(support.dtype)
                centre = (support * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
                support, query = support - centre, query - centre
        return support, query


def _after(table: FeatureTable, steps: tuple[Step, ...]) -> Iterator[np.ndarray]:
    """Parts of a table after steps, float64 [n, D]."""
    for _, rows in chunks(table.features):
        part = torch.from_numpy(rows.astype(np.float32)).to(table.device)
        for step in steps:
            part = step.of_rows(part)
        yield part.cpu().double().numpy()


def _step(text: str, whole: str | None) -> Step:
    name, colon, number = text.partition(":")
    if name not in KNOWN:
        raise UsageError(f"--features {whole}: no transform '{name}'; {did_you_mean(name, KNOWN)}")
    if name not in NUMBERED:
        if colon:
            raise UsageError(f"--features {whole}: {name} takes no number")
        return Step(name)
    usual = NUMBERED[name]
    if not colon and usual is not None:
        return Step(name, usual)
    try:
        value = float(number) if name == "power" else int(number)
    except ValueError:
        raise UsageError(f"--features {whole}: write {name}:NUMBER, such as {name}:{usual or 40}") from None
    if not 0 < value <= (8 if name == "power" else 2**20):
        raise UsageError(f"--features {whole}: {name}:{number} is out of range")
    return Step(name, float(value))
