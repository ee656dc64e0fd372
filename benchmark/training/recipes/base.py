"""The contract of a pretraining recipe: parameters, and a learner made of a backbone and images.

Letters in shape comments: B images, C channels, H and W pixels, D feature width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor, nn

from ....core.options import Declared, Settings, parameter
from ....core.progress import Progress
from ....tasks.datasets.base import Dataset
from ....tasks.datasets.split import Split
from ...backbones.base import Preprocess
from ...text.captions import Captions
from ..augmentation import Augmentation, scaled, unscaled
from ..loop.learner import Learner, Part, step_generator
from ..train_images import TrainImages
from ..views import Views

if TYPE_CHECKING:
    from .teacher import Teacher

CROP = {1: 0.5, 3: 0.2}  # smallest area of a view by channels: strokes that are cut off make another character


@dataclass(frozen=True)
class Material:
    """The material that a recipe works with.

    Attributes:
        backbone: the network to train, on its device.
        width: D, of its features.
        images: what it learns from.
        classes: how many the images belong to.
        preprocess: makes images ready for the backbone.
        crop: pixels by which images are shifted at random, in recipes that do.
        flip: whether images are mirrored at random.
        steps: of the whole training.
        generator: on the CPU; draws initial weights.
        captions: what is said of the images, for recipes that read texts; the backbone is then a `DualEncoder`.
        teacher: labels the images, for recipes that have one.
    """

    backbone: nn.Module
    width: int
    images: TrainImages
    classes: int
    preprocess: Preprocess
    crop: int
    flip: bool
    steps: int
    generator: Generator
    captions: Captions | None = None
    teacher: Teacher | None = None


@dataclass(frozen=True)
class Recipe(Declared, ABC):
    """A way to pretrain. Subclasses are frozen dataclasses whose fields are its parameters.

    Attributes:
        version: raised when the weights that it makes change; part of every address of a pipeline.
        citation: paper, in one line.
        learning_rate: of AdamW, where none is asked for.
        shifts: whether images are shifted by --crop; otherwise views are drawn of them.
        reads_text: whether the text tower is trained too.
    """

    version: ClassVar[str] = "1"
    citation: ClassVar[str]
    learning_rate: ClassVar[float] = 2e-3
    shifts: ClassVar[bool] = False
    reads_text: ClassVar[bool] = False

    def backbone_settings(self) -> Settings:
        """Parameters that the recipe gives the backbone, where the user sets no others."""
        return {}

    def captions_of(self, dataset: Dataset, split: Split, progress: Progress) -> Captions | None:
        """The captions of the images of a split, for recipes that read texts.

        Raises:
            UserError: the classes have no names, or the recipe's file of captions is not right.
        """
        return None

    def teacher_of(self, dataset: Dataset, split: Split, device: torch.device, progress: Progress) -> Teacher | None:
        """The network that labels the images of a split, for recipes that have one.

        Raises:
            UserError: there is no such network, or it does not know the classes.
        """
        return None

    @abstractmethod
    def learner(self, material: Material) -> Learner:
        """The learner, which the loop trains."""


@dataclass(frozen=True)
class RecipeWithViews(Recipe):
    """A recipe that learns what two views of an image have in common."""

    smallest_area: float | None = parameter(
        None,
        f"smallest share of the image in a view; none is {CROP[3]} for colour images and {CROP[1]} for grey ones",
        minimum=0.01,
        maximum=1,
    )
    rotation: float = parameter(0.0, "largest angle in degrees by which a view is turned", minimum=0, maximum=180)
    jitter: float = parameter(
        0.4, "largest relative change of brightness, contrast and saturation; colour images", minimum=0, maximum=1
    )
    grey: float = parameter(0.2, "share of the views without colour; colour images", minimum=0, maximum=1)
    blur: float = parameter(0.0, "share of the blurred views; colour images", minimum=0, maximum=1)

    def views(self, material: Material) -> Views:
        """The distribution of the views of an image."""
        smallest = self.area(material.preprocess.channels)
        flip = 0.5 if material.flip else 0.0
        return Views((smallest, 1.0), flip, self.rotation, self.jitter, self.grey, self.blur)

    def area(self, channels: int) -> float:
        """The smallest share of the image in a view."""
        return CROP[channels] if self.smallest_area is None else self.smallest_area


class ImageLearner(Learner):
    """A learner whose batches come from the images of a split."""

    def __init__(self, material: Material) -> None:
        """Take the backbone and the images of the material."""
        super().__init__()
        self.backbone = material.backbone
        self.images, self.preprocess = material.images, material.preprocess
        self.augmentation = Augmentation(material.crop, material.flip)

    def shifted(self, step: int, part: Part) -> tuple[Tensor, Tensor, Generator]:
        """Preprocessed images [B, C, H, W], shifted and mirrored at random, their labels [B], and the step's generator."""
        stored, labels = self.images.draw(step, part)
        generator = step_generator(self.images.seed, step, self.images.device, part)
        return _channels_last(self.augmentation(stored, self.preprocess, generator)), labels, generator

    def views(self, step: int, part: Part, kinds: list[Views]) -> Tensor:
        """One view of each kind of each image: [kinds · B, C, H, W], all of the first kind first."""
        generator = step_generator(self.images.seed, step, self.images.device, part)
        images = unscaled(self.images.draw(step, part)[0], self.preprocess)
        views = torch.cat([kind(images, generator) for kind in kinds])
        return _channels_last(scaled(views, self.preprocess))


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
