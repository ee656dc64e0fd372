"""P>M>F: pretraining, meta-training, fine-tuning.

Hu, Li, Stühmer, Kim and Hospedales 2022, "Pushing the limits of simple pipelines for few-shot learning: external data and
fine-tuning make a difference", arXiv:2204.07305.

P is any pretraining of the backbone. M (`bench train --method pmf`) is a prototypical network with scores
s · (cos(query, prototype) + b): prototypes are means of features that are not normalised, s starts at 10 and b at 0, and both
are learned. F fine-tunes the backbone for each episode: changed copies of the support take the place of queries, and 50 steps
of Adam minimise their cross-entropy with respect to the parameters that `--tune` unfreezes, by default the whole backbone. The
true queries are then classified with the prototypes of the clean support. Without a checkpoint of M this is P>F. With
`--tune none` (or `head`, since there is no classifier) it is P>M or P, and works on features.

The learning rate is one of the paper's: 0, 1e-4, 5e-4, 1e-3 and 1e-2. At 0 the weights stay those of the checkpoint, and the
parts that `--tune` adds to the network (prompts, LoRA) keep their initial values. `auto` takes the best rate on validation
episodes for the whole run, as the paper takes one for each domain. `auto-support` chooses for each episode, by held-out shots
of its support. Among equally good rates both take the smallest, so that 0 wins where fine-tuning brings nothing. Neither sees a
label of a test query. `auto`, the default, costs a few episodes once. `auto-support` costs up to 20 fine-tunings an episode,
and decides by 25 images at 5 shots and by changed copies alone at 1 shot.

With `--tune last-block` the support has 10 copies, which the steps take in turn, so that the blocks before the last encode each
copy only once. Otherwise every step has a new copy. `copies` changes their number.

Differs from the paper's code: the learning rate is never chosen by labelled test episodes; whether a copy is changed and
mirrored is drawn for every image; a shift repeats the border; in meta-training batch norm and dropout are in training mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from ...core.errors import UserError
from ..base import AUTO, Episodes, Method, parameter
from ..parts.adaptation import AdaptableBackbone
from ..parts.frozen_part import frozen_part
from ..parts.pmf_finetuning import FineTuning, Supports
from ..parts.similarity import ScaledCosine
from ..parts.support_folds import Fold, folds_of

RATES = (0.0, 1e-4, 5e-4, 1e-3, 1e-2)
UNMOVED = ("none", "head")  # scopes that leave the backbone as it is
COPIES = {"last-block": 10}  # number of copies of scopes without a new copy at every step
TRIED = 2  # images for the trial of the frozen part of the network


@dataclass(frozen=True)
class PMF(Method):
    """P>M>F: cosine prototypes of a backbone fine-tuned on changed copies of the support (Hu et al. 2022)."""

    meta_trained: ClassVar[bool] = True
    # For a pretrained ViT: SGD with momentum 0.9, 100 epochs of 2,000 episodes with 15 queries, of which the first 5 warm up
    # (--warmup-steps). A network without pretraining needs a rate a hundred times as high.
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "*": {"optimizer": "momentum", "learning_rate": 5e-5, "schedule": "cosine"},
    }
    adapts: ClassVar[bool] = True
    default_tune: ClassVar[str] = "full"
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {"learning_rate": RATES}
    choice_episodes: ClassVar[int] = 32
    citation: ClassVar[str] = "Hu, Li, Stühmer, Kim and Hospedales 2022, arXiv:2204.07305"

    learning_rate: float | Literal["auto", "auto-support"] = parameter(
        "auto",
        "of the fine-tuning, 0 is none; auto chooses on validation episodes, auto-support in each episode's support",
        minimum=0,
    )
    steps: int = parameter(50, "updates of an episode's fine-tuning", minimum=1)
    flip: bool = parameter(True, "mirror some of the changed copies left to right; not for characters")
    copies: int | None = parameter(
        None, "changed copies of the support, taken in turn; none is one a step, and 10 for --tune last-block", minimum=1
    )
    parallel: Literal["auto", "vmap", "loop"] = parameter(
        "auto", "fine-tune episodes together (vmap) or one by one (loop); auto: on a GPU together, on a CPU one by one"
    )

    def inputs_with(self, tune: str) -> Literal["features", "images"]:
        """Features where the backbone stays as it is."""
        return "features" if tune in UNMOVED else "images"

    def undecided_with(self, tune: str) -> tuple[str, ...]:
        """The learning rate, if it is "auto"; nothing where the backbone stays as it is."""
        return () if tune in UNMOVED else super().undecided_with(tune)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> ScaledCosine:
        """The scale and bias of the cosine."""
        return ScaledCosine()

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: scale · (cosine with the prototype + bias), with the fine-tuned backbone.

        Raises:
            UserError: there is no backbone, and the scope moves it.
        """
        cosine = episodes.learned
        assert isinstance(cosine, ScaledCosine)
        if episodes.tune in UNMOVED and episodes.support.dim() == 3:
            return cosine(episodes.support, episodes.support_labels, episodes.query, episodes.ways)
        if episodes.backbone is None:
            raise UserError(f"pmf with --tune {episodes.tune} needs images and a backbone; --tune none works on features")
        tuning = self._fine_tuning(episodes, episodes.backbone, cosine)
        groups = _without_padding(episodes, one_by_one=self.learning_rate == "auto-support")
        return torch.cat([tuning.scores(supports, query, self._rate(tuning, supports)) for supports, query in groups])

    def _fine_tuning(self, episodes: Episodes, network: nn.Module, cosine: ScaledCosine) -> FineTuning:
        backbone = AdaptableBackbone(network)
        moves = self.learning_rate != 0
        return FineTuning(
            backbone,
            cosine,
            frozen_part(backbone, episodes.support[0, :TRIED]) if moves else None,
            self.steps,
            self.copies or COPIES.get(episodes.tune, self.steps),
            self.flip,
            self.parallel,
        )

    def _rate(self, tuning: FineTuning, supports: Supports) -> float:
        """The learning rate: the given one, or the smallest of the best ones on held-out images of a support."""
        assert self.learning_rate != AUTO
        if not isinstance(self.learning_rate, str):
            return self.learning_rate
        folds = folds_of(supports, self.flip)
        return max(RATES, key=lambda rate: sum(_right(tuning, fold, rate) for fold in folds))


def _right(tuning: FineTuning, fold: Fold, rate: float) -> int:
    """The number of held-out images that are classified right."""
    scores = tuning.scores(fold.supports, fold.images, rate).masked_fill(~fold.supports.classes[:, None], -torch.inf)
    return int((scores[0].argmax(dim=1) == fold.labels).sum())


def _without_padding(episodes: Episodes, one_by_one: bool) -> list[tuple[Supports, Tensor]]:
    """Pairs of supports and queries [E, Q, …]: one pair where all supports have one shape, else one for each episode."""
    whole = Supports(episodes.support, episodes.support_labels, episodes.class_mask, episodes.seeds)
    present = episodes.support_labels >= 0  # [E, S]
    if present.all() and not one_by_one:
        return [(whole, episodes.query)]
    groups = []
    for i, supports in enumerate(whole.split(1)):
        images, labels = supports.images[:, present[i]], supports.labels[:, present[i]]
        groups.append((supports._replace(images=images, labels=labels), episodes.query[i : i + 1]))
    return groups
