"""CoOp: learns the prompt's words.

Zhou, Yang, Loy and Liu 2022, "Learning to prompt for vision-language models", arXiv:2109.01134.

A prompt is "[v₁] … [v_M] NAME.", where M context vectors take the place of words. The classes of an episode share them. They
are trained in every episode by cross-entropy on the support, through the frozen text tower. The score of a class is 100 times
the cosine of its prompt's feature with the image feature. All prompts of all episodes go through the tower as one batch.

As in the authors' released code the context starts from the words "a photo of a" or from 16 random vectors, N(0, 0.02²), the
name is at the end, and the optimiser is SGD with momentum 0.9, weight decay 5e-4, and learning rate 0.002 on a cosine schedule.

Differs from the paper: the method works on image features, so that there is no augmentation. A step sees the whole support of
an episode, and the warm-up of one epoch at 1e-5 is left out. The paper trains 50 epochs for 1 shot and up to 200 for 16 shots;
for the few classes of an episode an epoch is one step or a few. Here there are 50 steps for any number of shots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from ...core.errors import UsageError, UserError
from ...core.ranges import LARGEST_SIZE
from ..base import Episodes, Method, parameter
from ..parts.clip_scores import absent_classes, row_shares, text_scores, unit_support
from ..parts.prompt_context import Prompts, PromptTower
from ..parts.random_numbers import uniform

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
DEVIATION = 0.02  # of random context vectors
RADIUS, ANGLE = 0, 1  # streams of an episode's random numbers


@dataclass(frozen=True)
class CoOp(Method):
    """CoOp: learns context vectors of the prompt on the support, through the frozen text tower (Zhou et al. 2022)."""

    uses_class_names: ClassVar[bool] = True
    uses_text_tower: ClassVar[bool] = True
    citation: ClassVar[str] = "Zhou, Yang, Loy and Liu 2022, arXiv:2109.01134"

    context: str | None = parameter("a photo of a", "words that the context starts from; none: random vectors")
    tokens: int = parameter(16, "vectors of a context that starts from no words", minimum=1, maximum=LARGEST_SIZE)
    steps: int = parameter(50, "of SGD, the whole support at each", minimum=0)
    learning_rate: float = parameter(0.002, "learning rate of SGD at the start of its cosine schedule", above=0)

    def __post_init__(self) -> None:
        """Check that the context, if there is one, has words."""
        super().__post_init__()
        if self.context is not None and not self.context.split():
            raise UsageError("coop: context has no words; take some, or none for random vectors: --set context=none")

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: 100 times the cosine with the feature of the learned prompt.

        Raises:
            UserError: there is no text tower, or the context does not fit into its texts.
        """
        if episodes.text_tower is None or episodes.class_names is None:
            raise UserError("coop needs class names and a backbone with a text tower: --backbone clip-tiny")
        tower = cast(PromptTower, episodes.text_tower)
        names = [name for row in episodes.class_names for name in row]
        prompts = Prompts.of(tower, names, self.context, self.tokens, episodes.support.device)
        training = _Training(episodes, tower, prompts)
        contexts = self._start(episodes, prompts)  # [E, M, W]
        velocity = torch.zeros_like(contexts)
        for step in range(self.steps):
            rate = self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2
            velocity = MOMENTUM * velocity + training.gradient(contexts) + WEIGHT_DECAY * contexts
            contexts = contexts - rate * velocity
        return text_scores(normalize(episodes.query, dim=-1), training.text(contexts))  # [E, Q, N]

    def _start(self, episodes: Episodes, prompts: Prompts) -> Tensor:
        """The contexts before training, [E, M, W]."""
        if self.context is not None:
            return prompts.words.expand(len(episodes), -1, -1)
        length, width = prompts.words.shape
        radius, angle = (uniform(episodes.seeds, stream, length * width) for stream in (RADIUS, ANGLE))
        # Box and Muller 1958: two uniform numbers make a normal one.
        normal = (-2 * torch.log1p(-radius)).sqrt() * torch.cos(2 * math.pi * angle)
        return (DEVIATION * normal).view(len(episodes), length, width).to(prompts.words.dtype)


class _Training:
    """The loss of E episodes' contexts."""

    def __init__(self, episodes: Episodes, tower: PromptTower, prompts: Prompts) -> None:
        self.tower, self.prompts = tower, prompts
        self.episode, self.way = episodes.class_mask.nonzero(as_tuple=True)  # [B] each: episode and class of each prompt
        self.mask, self.absent = episodes.class_mask, absent_classes(episodes, episodes.support.dtype)
        self.support, self.labels = unit_support(episodes), episodes.support_labels.clamp(min=0)
        self.shares = row_shares(episodes.support_labels, episodes.support.dtype)[..., 0]  # [E, S]

    def text(self, contexts: Tensor) -> Tensor:
        """Text features [E, N, D] with contexts [E, M, W]; zeros where an episode has fewer classes."""
        features = self.prompts.features(self.tower, contexts[self.episode]).to(self.support.dtype)  # [B, D]
        empty = features.new_zeros(*self.mask.shape, features.shape[1])
        return empty.index_put((self.episode, self.way), features)

    def gradient(self, contexts: Tensor) -> Tensor:
        """Gradient of each episode's mean cross-entropy with respect to its context, [E, M, W]."""
        with torch.enable_grad():
            contexts = contexts.detach().requires_grad_()
            logits = text_scores(self.support, self.text(contexts)) + self.absent  # [E, S, N]
            own = log_softmax(logits, dim=-1).gather(2, self.labels[..., None])[..., 0]  # [E, S]
            # Each context is in the loss of its own episode only, so that the gradient of the sum holds every gradient.
            return torch.autograd.grad(-(own * self.shares).sum(), contexts)[0]
