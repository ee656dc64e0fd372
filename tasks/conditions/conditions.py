"""Conditions under which a task departs from the balanced, well labelled one of papers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NoiseKind = Literal["symmetric", "pair"]
Strategy = Literal["random", "margin", "entropy", "coreset", "typiclust"]


@dataclass(frozen=True)
class Conditions:
    """The conditions of a task; what is None departs in nothing. Records hold them, so that new fields need a default.

    Attributes:
        query_balance: concentration of the Dirichlet distribution that divides the queries among the classes.
        label_noise: probability with which the label of a support image is that of another class.
        noise_kind: which other class; None without noise.
        unlabelled: images without labels, of each class of the episode and of each distractor.
        distractors: classes that the episode does not have, whose images are among the unlabelled ones.
        acquire: the rule that chooses which of the unlabelled images get a label.
        budget: labels that it gives in each episode.
    """

    query_balance: float | None = None
    label_noise: float | None = None
    noise_kind: NoiseKind | None = None
    unlabelled: int | None = None
    distractors: int | None = None
    acquire: Strategy | None = None
    budget: int | None = None

    def __str__(self) -> str:
        """All that departs, in words: `query balance 2, label noise 0.2` or `unlabelled 20, margin 5`."""
        kind = f" ({self.noise_kind} flips)" if self.noise_kind == "pair" else ""
        words = {
            "query balance": self.query_balance,
            f"label noise{kind}": self.label_noise,
            "unlabelled": self.unlabelled,
            "distractors": self.distractors,
            str(self.acquire): self.budget,
        }
        return ", ".join(f"{name} {value:g}" for name, value in words.items() if value is not None)

    @property
    def any(self) -> bool:
        """Whether anything departs."""
        return self != Conditions()
