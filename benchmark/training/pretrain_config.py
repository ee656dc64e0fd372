"""The options of a pretraining."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...core.errors import UsageError
from ...core.options import Options, Settings, declared, parameter
from ...core.ranges import LARGEST_SEED, LARGEST_SIZE
from ..scopes import with_scopes
from .options import OF_LAYERS, Precision, check_layers
from .recipes import check_recipe, takes_shifts

SCOPES = ("backbone", "dataset", "recipe")


@dataclass(frozen=True)
class PretrainConfig(Options):
    """One pretraining. What is None is decided by the recipe, the images or the device. Each field is an option."""

    # Options that came later: where they have their defaults, an identity is what it was before.
    later: ClassVar[tuple[str, ...]] = ("warmup_epochs", "clip_norm", "activation", "optimizer")

    dataset: str = field(metadata=declared("Dataset whose train classes are learnt."))
    backbone: str = parameter("conv4", "Backbone (bench list backbones).")
    recipe: str = parameter(
        "supervised",
        "With labels: supervised, triplet. By texts: clip. Without labels: rotation, simclr, simclr-v2, barlow-twins, dino, "
        "masked (vision transformers). By a teacher, recipe.teacher=FILE: distill, self-distill, spl.",
    )
    epochs: int = parameter(
        30, "Passes over the train images; 0 keeps the initial weights, the control of an ablation.", minimum=0
    )
    batch_size: int = parameter(128, "Images a step, of all processes together.", minimum=1)
    learning_rate: float | None = parameter(
        None, "Highest learning rate, which falls to zero along a cosine; default: the recipe's, of AdamW.", above=0
    )
    weight_decay: float = parameter(1e-2, "Weight decay.", minimum=0)
    crop: int | None = parameter(
        None,
        "Random shift of at most so many pixels, of recipes that draw no views; default 3.",
        minimum=0,
        maximum=LARGEST_SIZE,
    )
    flip: bool | None = parameter(None, "Mirror images at random; default: colour images, where views are compared.")
    seed: int = parameter(0, "Seed of initial weights, order and augmentation.", minimum=0, maximum=LARGEST_SEED)
    device: str = parameter("auto", "auto, cpu or cuda.")
    size: int | None = parameter(
        None,
        "Pixels to which images are resized; default: as stored, or as the network wants.",
        minimum=1,
        maximum=LARGEST_SIZE,
    )
    norm: str | None = parameter(None, "Norm layers of the backbone, the same as --set backbone.norm=.")
    activation: str | None = parameter(
        None, "Activation of a built-in backbone (relu, smelu, gelu or swish), the same as --set backbone.activation=."
    )
    precision: Precision | None = parameter(None, "Of the forward pass: fp32, bf16 or fp16; default: bf16 on a GPU.")
    patience: int | None = parameter(None, "Stop after so many epochs without a better one.", minimum=1)
    warmup_epochs: float = parameter(0.25, "Epochs, or a part of one, in which the learning rate rises.", minimum=0)
    clip_norm: float | None = parameter(None, "Length that the gradient may have.", above=0)
    optimizer: str = parameter("adamw", "adamw, sgd, locoprop or another that timm knows; all but adamw need --learning-rate.")
    settings: Settings = parameter(dict, "Parameter, name=value; recipe., backbone. or dataset. before the name says whose.")

    def __post_init__(self) -> None:
        """Check every field, and what several of them say together.

        Raises:
            UsageError: one line that names the option.
        """
        check_recipe(self.recipe)
        super().__post_init__()
        for name in self._of_layers():
            if f"backbone.{name}" in self.settings:
                raise UsageError(f"--{name} and --set backbone.{name} are the same; give one of them")
        short = {f"backbone.{name}": value for name, value in self._of_layers().items()}
        check_layers(self.backbone, {**self.settings, **short})
        object.__setattr__(self, "settings", with_scopes(self.settings, self.dataset))
        for key in self.settings:
            scope, dot, _ = key.partition(".")
            if not dot or scope not in SCOPES:
                name = key.rpartition(".")[2]
                raise UsageError(f"--set {key}: say whose it is: {', '.join(f'{known}.{name}' for known in SCOPES)}")
        if self.optimizer != "adamw" and self.learning_rate is None:
            raise UsageError(f"--optimizer {self.optimizer}: give --learning-rate too; that of the recipe is for adamw")
        if self.crop and not takes_shifts(self.recipe):
            raise UsageError(f"--crop: recipe {self.recipe} draws views of its own; set recipe.smallest_area")

    def settings_of(self, scope: str) -> Settings:
        """The parameters meant for the backbone, the dataset or the recipe."""
        chosen = {key.partition(".")[2]: value for key, value in self.settings.items() if key.partition(".")[0] == scope}
        return {**chosen, **self._of_layers()} if scope == "backbone" else chosen

    def _of_layers(self) -> Settings:
        """The parameters of the backbone that have an option of their own."""
        return {name: value for name in OF_LAYERS if (value := getattr(self, name)) is not None}
