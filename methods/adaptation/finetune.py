"""Fine-tuning: a cosine classifier and a part of the backbone, trained on the support of each episode.

The classifier is that of Baseline++ (Chen, Liu, Kira, Wang and Huang 2019, "A closer look at few-shot classification",
arXiv:1904.04232), with a fixed scale; its weights start at the normalised class means of the normalised support features, and
the backbone moves with it, as in Dhillon, Chaudhari, Ravichandran and Soatto 2020, "A baseline for few-shot image
classification", arXiv:1909.02729 ("support-based initialization"). What may move is `--tune`:

- none: nothing. There are no steps; a query belongs to the nearest class mean by cosine.
- head: the classifier. The backbone is frozen, so that this runs on features, with all episodes of a chunk at once.
- norm, last-block, lora, prompt, prompt-pool, full: the classifier and the parameters of the backbone that the scope unfreezes,
  episode by episode, on copies of them.

Every step minimises the mean cross-entropy over the whole support by one update of Adam (with decoupled weight decay, 0 by
default), with one learning rate for the classifier and one for the backbone. Dropout is off. `statistics` chooses the
statistics of batch norm: those of the pretraining (running), those of the episode's support for support and queries (support),
or those of each batch (queries), which makes the scores transductive.

Defaults come from the val classes of trifeature with the package's Conv-4, 5-way 1-shot; no test class was opened. `head` had
84.5 to 85.4 % over 320 episodes for rates from 1e-4 to 1e-2 and 20 to 100 steps, so that neither matters much. Gains by the
rate of the backbone, in points over `none` on the same 60 episodes (± 2 standard errors): norm 1e-3 +1.2 ± 0.9, 5e-3 +1.6 ±
1.1; lora 1e-3 +1.3 ± 1.1, 5e-3 −2.7 ± 1.3; last-block 1e-4 +1.0 ± 0.7, 1e-3 +0.8 ± 1.1; full 1e-4 +1.4 ± 1.1, and on 40 others
3e-4 −0.5. One shot is little to learn from. The rate of prompts, which a Conv-4 does not take, was not studied.

Differs from the papers: Chen et al. use SGD and learn the classifier from random weights. Dhillon et al. put the classifier on
the rectified logits of the pretraining's classifier instead of features; their transductive variant, which also minimises the
entropy of the queries, is not included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from ...core.errors import UserError
from ..base import Episodes, Method, parameter
from ..parts.adam import Adam
from ..parts.adaptation import AdaptableBackbone
from ..parts.augmentation import random_crop, random_flip
from ..parts.cosine_head import initial_weights, train
from ..parts.frozen_part import FrozenPart, frozen_part
from ..parts.random_numbers import random_words
from ..parts.similarity import cosines

AUGMENTATION = 0  # stream of an episode's random numbers
RATE = 1e-4  # learning rate of the backbone
RATES = {"norm": 1e-3, "lora": 1e-3, "prompt": 1e-2, "prompt-pool": 1e-2}  # few parameters allow a higher one
TRIED = 2  # images for the trial of the frozen part of the network
CROP_SHARE = 8  # images are shifted by up to an eighth of their side, 4 pixels of 32


@dataclass(frozen=True)
class Finetune(Method):
    """Fine-tuning: cosine classifier and the unfrozen part of the backbone, trained on the support (Dhillon et al. 2020)."""

    adapts: ClassVar[bool] = True
    citation: ClassVar[str] = "Chen et al. 2019, arXiv:1904.04232; Dhillon et al. 2020, arXiv:1909.02729"

    steps: int = parameter(10, "updates, each on the whole support", minimum=0)
    learning_rate: float = parameter(1e-2, "learning rate of the classifier", above=0)
    backbone_learning_rate: float | None = parameter(
        None,
        "learning rate of what --tune unfreezes of the backbone; none is 1e-2 for prompts, 1e-3 for norm and lora, 1e-4 else",
        minimum=0,
    )
    weight_decay: float = parameter(0.0, "decoupled weight decay of both", minimum=0)
    scale: float = parameter(10.0, "factor on the cosine before the softmax", above=0)
    augmentation: bool = parameter(False, "shift and mirror the support images at random at every step")
    statistics: Literal["running", "support", "queries"] = parameter(
        "running", "batch-norm statistics: of the pretraining, of the support, or of each batch (queries: transductive)"
    )

    def __post_init__(self) -> None:
        """Set `transductive`: the method is, with the statistics of the queries."""
        super().__post_init__()
        # The class attribute is the default, for listings.
        object.__setattr__(self, "transductive", self.statistics == "queries")

    def inputs_with(self, tune: str) -> Literal["features", "images"]:
        """Features where the backbone encodes each image once, with its running statistics; images otherwise."""
        return "features" if self.statistics == "running" and self._is_frozen(tune) else "images"

    def _is_frozen(self, tune: str) -> bool:
        """Whether an image has the same features at every step."""
        return tune == "none" or (tune == "head" and not self.augmentation)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: scale times the cosine with the class's trained weights.

        Raises:
            UserError: the scope needs images and a backbone, and one is missing; the statistics are those of the queries, and
                episodes have padding, which would count as queries; or the backbone has no batch norm to choose statistics for.
        """
        tune = episodes.tune
        if self.inputs_with(tune) == "features" and episodes.support.dim() == 3:
            return self._scores_on_features(episodes.support, episodes.query, episodes)
        if episodes.backbone is None:
            raise UserError(f"finetune with --tune {tune} and these settings needs images and a backbone")
        if self.transductive and episodes.padded:
            raise UserError("finetune with statistics=queries needs episodes of one shape; take statistics=support")
        backbone = AdaptableBackbone(episodes.backbone, self.statistics)
        if self.statistics != "running" and not backbone.has_batch_norm:
            raise UserError(f"finetune with statistics={self.statistics}: the backbone has no batch norm; leave it at running")
        if self._is_frozen(tune):
            return self._scores_on_features(*_encoded(backbone, episodes), episodes)
        frozen = self._frozen_part(backbone, episodes)
        return torch.stack([self._adapted_scores(backbone, frozen, episodes, episode) for episode in range(len(episodes))])

    def _frozen_part(self, backbone: AdaptableBackbone, episodes: Episodes) -> FrozenPart | None:
        """The part of the network to compute once; None where the images differ from step to step."""
        if self.augmentation:
            return None
        images = episodes.support[0, episodes.support_labels[0] >= 0]
        return frozen_part(backbone, images[:TRIED] if self.statistics == "running" else images)

    def _scores_on_features(self, support: Tensor, query: Tensor, episodes: Episodes) -> Tensor:
        """Scores [E, Q, N] of features [E, Q, D], by classifiers trained on features [E, S, D]."""
        labels, class_mask = episodes.support_labels, episodes.class_mask
        weights = initial_weights(support, labels, episodes.ways)  # [E, N, D]
        if episodes.tune == "head":
            rates = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
            weights = train(weights, support, labels, class_mask, scale=self.scale, steps=self.steps, **rates)
        return self.scale * cosines(query, weights)

    def _adapted_scores(
        self, backbone: AdaptableBackbone, frozen: FrozenPart | None, episodes: Episodes, episode: int
    ) -> Tensor:
        """Scores [Q, N] of one episode, with an adapted backbone or augmented images."""
        present = episodes.support_labels[episode] >= 0
        images, labels = episodes.support[episode, present], episodes.support_labels[episode, present]
        absent = ~episodes.class_mask[episode]  # [N]
        generator = _generator(episodes, episode)
        moved = backbone.freed() if episodes.tune != "head" else {}
        encode, support = (backbone.encode, images) if frozen is None else (frozen.encode, frozen.remember(images))
        with torch.no_grad():
            weights = initial_weights(encode(moved, support)[None], labels[None], episodes.ways)  # [1, N, D]
        weights.requires_grad_()
        tensors = [weights, *moved.values()]
        rate = RATES.get(episodes.tune, RATE) if self.backbone_learning_rate is None else self.backbone_learning_rate
        rates = [self.learning_rate] + [rate] * len(moved)
        optimizer = Adam(tensors, rates, self.weight_decay)
        for _ in range(self.steps):
            batch = _augmented(images, generator) if self.augmentation else support
            with torch.enable_grad():
                logits = self.scale * cosines(encode(moved, batch)[None], weights)[0]  # [S, N]
                loss = cross_entropy(logits.masked_fill(absent, -torch.inf), labels)
            optimizer.step(torch.autograd.grad(loss, tensors, allow_unused=True))
        with torch.no_grad():
            features = backbone.encode_queries(moved, episodes.query[episode], images)  # [Q, D]
            return self.scale * cosines(features[None], weights)[0]


def _encoded(backbone: AdaptableBackbone, episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Features [E, S, D] and [E, Q, D] of the unchanged images, each episode with its own statistics."""
    supports, queries = [], []
    with torch.no_grad():
        for images, labels, query in zip(episodes.support, episodes.support_labels, episodes.query, strict=True):
            features = backbone.encode({}, images[labels >= 0])
            support = features.new_zeros(len(labels), features.shape[1])
            support[labels >= 0] = features
            supports.append(support)
            queries.append(backbone.encode_queries({}, query, images[labels >= 0]))
    return torch.stack(supports), torch.stack(queries)


def _generator(episodes: Episodes, episode: int) -> Generator:
    """Make the generator of an episode's augmentation, from the episode's seed."""
    word = random_words(episodes.seeds[episode : episode + 1], AUGMENTATION, 1).item()
    return Generator(episodes.support.device).manual_seed(int(word))


def _augmented(images: Tensor, generator: Generator) -> Tensor:
    """Shift and mirror images [S, C, H, W] at random."""
    return random_flip(random_crop(images, images.shape[-1] // CROP_SHARE, generator), generator)
