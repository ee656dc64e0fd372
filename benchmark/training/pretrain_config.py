"""What a pretraining may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...core.errors import UsageError
from .options import check_norm, check_options
from .recipes import check_recipe, find_recipe

SCOPES = ("backbone", "dataset", "recipe")


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining. What is None is decided by the recipe, the images or the device.

    Attributes:
        dataset: registered name; its train classes are learnt.
        backbone: registered name.
        recipe: supervised, rotation, simclr, barlow-twins, dino or clip.
        epochs: passes over the train images; 0 keeps the initial weights, the control of an ablation.
        batch_size: images a step, of all processes together.
        learning_rate: the highest, after the warm-up; it falls to zero along a cosine. None: the recipe's.
        weight_decay: of AdamW.
        crop: pixels by which images are shifted at random, in recipes without views of their own; None is 3.
        flip: whether images are mirrored at random; None: colour images are, by recipes that learn from views.
        seed: of initial weights, order and augmentation.
        device: auto, cpu or cuda.
        size: pixels to which images are resized; None: as they are stored, or as the network wants them.
        norm: norm layers of the backbone (its parameter `norm`); None: its default.
        precision: of the forward pass: fp32, bf16 or fp16; None is bf16 on a GPU and fp32 on a CPU.
        patience: stop after so many epochs without a better one; None never stops early.
        warmup_epochs: the learning rate rises through so many, or a part of one.
        clip_norm: gradients longer than this, all together, are shortened to it; None leaves them.
        settings: parameters as name → value; `recipe.`, `backbone.` or `dataset.` before a name says whose.
    """

    # Options that came later: where they have their defaults, an identity is what it was before.
    later: ClassVar[tuple[str, ...]] = ("warmup_epochs", "clip_norm")

    dataset: str
    backbone: str = "conv4"
    recipe: str = "supervised"
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float | None = None
    weight_decay: float = 1e-2
    crop: int | None = None
    flip: bool | None = None
    seed: int = 0
    device: str = "auto"
    size: int | None = None
    norm: str | None = None
    precision: str | None = None
    patience: int | None = None
    warmup_epochs: float = 0.25
    clip_norm: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            UsageError: one line that names the option.
        """
        check_recipe(self.recipe)
        check_options(vars(self))
        check_norm(self.backbone, self.settings.get("backbone.norm", self.norm))
        if self.norm is not None and "backbone.norm" in self.settings:
            raise UsageError("--norm and --set backbone.norm are the same; give one of them")
        for key in self.settings:
            scope, dot, _ = key.partition(".")
            if not dot or scope not in SCOPES:
                name = key.rpartition(".")[2]
                raise UsageError(f"--set {key}: say whose it is: {', '.join(f'{known}.{name}' for known in SCOPES)}")
        if self.crop and not find_recipe(self.recipe).shifts:  # last, since it imports torch
            raise UsageError(f"--crop: recipe {self.recipe} draws views of its own; set recipe.smallest_area")

    def settings_of(self, scope: str) -> dict[str, Any]:
        """The parameters meant for the backbone, the dataset or the recipe."""
        chosen = {key.partition(".")[2]: value for key, value in self.settings.items() if key.partition(".")[0] == scope}
        return {**chosen, "norm": self.norm} if scope == "backbone" and self.norm is not None else chosen
