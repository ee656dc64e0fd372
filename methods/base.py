"""The contract of a method, and the few tensor helpers that most methods share.

A new method is a class such as this one, in any file or package:

    @dataclass(frozen=True)
    class NearestShot(Method):
        '''Score of a class: minus the distance to its nearest support image.'''

        power: float = parameter(2.0, "2 is the Euclidean distance, 1 the city-block distance", minimum=1)

        def classify(self, episodes: Episodes) -> Tensor:
            distance = torch.cdist(episodes.query, episodes.support, p=self.power)      # [E, Q, S]
            mine = one_hot(episodes.support_labels, episodes.ways).bool()               # [E, S, N]
            return -distance[..., None].where(mine[:, None], torch.inf).amin(dim=2)     # [E, Q, N]

Letters in shape comments: E episodes, N ways (classes), S support rows, Q query rows, D feature width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from ..core.options import Declared, Settings, build, parameter, parameters_of
from ..tasks.episodes import Episodes

__all__ = ["AUTO", "Episodes", "Method", "class_means", "one_hot", "parameter"]

AUTO = "auto"  # value of a parameter to be chosen on val episodes (`Method.choices`)


@dataclass(frozen=True)
class Method(Declared, ABC):
    """A few-shot classifier. Subclasses are frozen dataclasses whose fields are the method's hyper-parameters.

    One instance serves many episodes and keeps nothing between them: permuting the episodes, or the query rows, permutes the
    scores and changes nothing else.

    Attributes:
        inputs: content of `Episodes.support` and `Episodes.query`: "features" [E, S, D] or "images" [E, S, C, H, W].
        transductive: whether the score of a query may depend on the episode's other queries.
        uses_support: whether the scores depend on the support. Otherwise they count as those of zero shots.
        uses_class_names: whether the method needs `Episodes.class_names`.
        uses_text: whether the method needs `Episodes.text`, and thus a backbone with a text tower.
        uses_text_tower: whether the method needs `Episodes.text_tower` itself, to learn prompts.
        uses_unlabelled: whether the method uses `Episodes.unlabelled`, where the task has any.
        uses_train_mean: whether the method needs `Episodes.train_mean` (the train split is then encoded too).
        uses_train_classes: whether the method needs `Episodes.train_classes` (likewise).
        meta_trained: whether `bench train` can train the method, by its `loss`.
        trained_with: the paper's options of `bench train`, by dataset ("*": every dataset), which are the defaults. Where the
            paper uses others for more shots, they are those of its 1-shot experiments.
        fixed_ways: whether meta-training learns a classifier for the ways of a training episode. No other episode can then have
            more classes.
        needs_training: whether the method needs a learned module (`--checkpoint`).
        adapts: whether the method trains on the support; `--tune` then says what may move (`Episodes.tune`).
        default_tune: default of `--tune` for a method that adapts.
        choices: candidates of the parameters whose value may be "auto", by name. The engine then takes the combination with the
            highest mean accuracy on the first episodes of the val split, the first of equals; `classify` never sees "auto".
        choice_episodes: number of val episodes for that choice.
        later_parameters: parameters that are younger than the first records. Records leave them out at their default, so that
            older records still belong to the same run.
        version: changes when the scores do; part of every record.
        distribution: the package whose code the method runs, where another package registers the method.
        open_parameters: a sentence for `bench show`, where the parameters are not fields.
        citation: paper, in one line.
    """

    inputs: ClassVar[Literal["features", "images"]] = "features"
    transductive: ClassVar[bool] = False
    uses_support: ClassVar[bool] = True
    uses_class_names: ClassVar[bool] = False
    uses_text: ClassVar[bool] = False
    uses_text_tower: ClassVar[bool] = False
    uses_unlabelled: ClassVar[bool] = False
    uses_train_mean: ClassVar[bool] = False
    uses_train_classes: ClassVar[bool] = False
    meta_trained: ClassVar[bool] = False
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    fixed_ways: ClassVar[bool] = False
    needs_training: ClassVar[bool] = False
    adapts: ClassVar[bool] = False
    default_tune: ClassVar[str] = "head"
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    choice_episodes: ClassVar[int] = 100
    later_parameters: ClassVar[frozenset[str]] = frozenset()
    version: ClassVar[str] = "1"
    distribution: ClassVar[str] = ""
    open_parameters: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> Self:
        """Make the method from its name and parameters, which may be text or typed values.

        Raises:
            UsageError: a parameter is unknown, or a value has the wrong type.
        """
        return build(cls, settings, f"method {name}")

    @property
    def parameters(self) -> Settings:
        """All parameters, except `later_parameters` at their default."""
        left_out = self.later_parameters.difference(self.changed)
        return {p.name: getattr(self, p.name) for p in parameters_of(type(self)) if p.name not in left_out}

    @property
    def changed(self) -> list[str]:
        """Names of the parameters that differ from their defaults, sorted."""
        return sorted(p.name for p in parameters_of(type(self)) if getattr(self, p.name) != p.default)

    def undecided_with(self, tune: str) -> tuple[str, ...]:
        """Names of the parameters that are "auto" and matter under a tuning scope."""
        return tuple(name for name in self.choices if getattr(self, name) == AUTO)

    def inputs_with(self, tune: str) -> Literal["features", "images"]:
        """The inputs under a tuning scope (`--tune`). Where no part of the backbone moves, features may be enough."""
        return self.inputs

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """Bytes that one episode of features goes through again and again; they decide how many are classified at once.

        Args:
            support: S rows.
            query: Q rows.
            ways: N classes.
            width: D of the features.
        """
        return 4 * (support + query) * width

    @abstractmethod
    def classify(self, episodes: Episodes) -> Tensor:
        """Score every query of every episode against its classes.

        Args:
            episodes: E episodes with their features or images.

        Returns:
            float [E, Q, N], higher is better; only the order within a query's N scores counts.
        """

    def classify_each(self, episodes: Episodes, candidates: Sequence[Method]) -> Iterator[Tensor]:
        """Yield what `classify` returns for each of several settings of this method, in turn.

        A method overrides this where they can share work.

        Args:
            episodes: as for `classify`.
            candidates: the settings, which differ in parameters that are "auto" here.
        """
        for candidate in candidates:
            yield candidate.classify(episodes)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> nn.Module | None:
        """Make the module that is meta-trained beside the backbone, with initial values; None where there is none.

        Args:
            backbone: the encoder.
            width: width D of the features.
            ways: number of classes of a training episode.
            generator: draws the initial values.
        """
        return None

    def settled(self, episodes: Callable[[], Episodes] | None) -> Self:
        """The method for a whole meta-training, with all settings decided that depend on timing.

        The engine stores the result, since a training that continues after an interruption must round as before.

        Args:
            episodes: draws training episodes, for timing; None where several processes must decide alike without timing.
        """
        return self

    def loss(self, episodes: Episodes) -> Tensor:
        """The loss of meta-training: the mean over all queries of the cross-entropy of `classify`'s scores.

        Args:
            episodes: with `query_labels`, and with features through which gradients reach the backbone, or with images and the
                backbone.

        Returns:
            A scalar.
        """
        assert episodes.query_labels is not None
        scores = self.classify(episodes).masked_fill(~episodes.class_mask[:, None], -torch.inf)
        return cross_entropy(scores.flatten(0, 1), episodes.query_labels.flatten(), ignore_index=-1)


def one_hot(labels: Tensor, ways: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn int64 labels [..., S] into one-hot rows [..., S, N]; a padded place (label −1) becomes a row of zeros."""
    return (labels[..., None] == torch.arange(ways, device=labels.device)).to(dtype)


def class_means(support: Tensor, labels: Tensor, ways: int) -> Tensor:
    """Mean support feature of each class: from [E, S, D] and labels [E, S] to [E, N, D]; zeros for a class without support."""
    member = one_hot(labels, ways, support.dtype)  # [E, S, N]
    counts = member.sum(dim=1).clamp(min=1)  # [E, N]
    return torch.bmm(member.transpose(1, 2), support) / counts[..., None]
