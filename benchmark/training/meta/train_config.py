"""What a meta-training may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ....core.errors import UsageError
from ...config import SCOPES
from ..options import Precision, Schedule, check_norm, check_options

if TYPE_CHECKING:
    from ....methods.base import Method

# Options that are those of the method's paper for the dataset (`Method.trained_with`); these, where the paper says nothing.
OF_THE_PAPER: dict[str, Any] = {
    "ways": 5, "shots": 1, "queries": 15, "meta_batch": 1, "steps": 10_000, "optimizer": "adam", "learning_rate": 1e-3,
    "weight_decay": 0.0, "schedule": "constant", "halve_every": None, "clip_norm": None, "clip_value": None,
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """One meta-training. What is None is decided by the method's paper, the network or the device.

    Attributes:
        method: a registered name or `file.py:Class`, with a loss.
        dataset: registered name; episodes come from its train classes.
        backbone: registered name.
        weights: what the backbone starts from, shipped or a file; None: initial weights.
        ways: classes a training episode.
        shots: support images a class.
        queries: query images a class.
        meta_batch: episodes a step, of all processes together.
        steps: updates.
        sampler: of the training episodes: uniform, semantic, imbalanced or meta-dataset.
        optimizer: a name that timm.optim knows.
        learning_rate: the highest.
        weight_decay: of the optimiser.
        schedule: cosine, step or constant.
        halve_every: steps after which schedule step halves the learning rate.
        warmup_steps: in which the learning rate rises.
        clip_norm: length that the gradient may have.
        clip_value: size that an entry of the gradient may have.
        val_ways: classes a validation episode.
        val_queries: query images a class in validation episodes, which have the shots of the training.
        val_episodes: how many.
        validate_every: steps between validations.
        size: pixels to which images are resized; None: as they are stored, or as the network wants them.
        crop: pixels by which images are shifted at random.
        flip: whether images are mirrored at random.
        smallest_area: images are cropped at random to this share of their area or more, and scaled back; None: they are not.
        jitter: largest relative change of brightness, contrast and saturation.
        seed: of initial weights, episodes and augmentation.
        device: auto, cpu or cuda.
        precision: of the forward pass: fp32, bf16 or fp16; None is bf16 on a GPU and fp32 on a CPU.
        patience: stop after so many validations without a better one; None never stops early.
        settings: parameters as name → value; `backbone.`, `dataset.` or `sampler.` before a name says whose, else the method's.
    """

    later: ClassVar[tuple[str, ...]] = ("smallest_area", "jitter")  # options that came later, as PretrainConfig has them

    method: str
    dataset: str
    backbone: str = "conv4"
    weights: str | None = None
    ways: int | None = None
    shots: int | None = None
    queries: int | None = None
    meta_batch: int | None = None
    steps: int | None = None
    sampler: str = "uniform"
    optimizer: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    schedule: Schedule | None = None
    halve_every: int | None = None
    warmup_steps: int = 0
    clip_norm: float | None = None
    clip_value: float | None = None
    val_ways: int = 5
    val_queries: int = 15
    val_episodes: int = 600
    validate_every: int = 500
    size: int | None = None
    crop: int = 0
    flip: bool = False
    smallest_area: float | None = None
    jitter: float = 0.0
    seed: int = 0
    device: str = "auto"
    precision: Precision | None = None
    patience: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            UsageError: one line that names the option.
        """
        check_options(vars(self))
        check_norm(self.backbone, self.settings.get("backbone.norm"))
        if self.crop and self.smallest_area is not None:
            raise UsageError("--crop and --smallest-area are two ways to crop; give one of them")

    def decided(self, method: type[Method], dataset: str) -> dict[str, Any]:
        """The options of the paper, as they are given, or else as the method's paper has them for a dataset."""
        paper = {**OF_THE_PAPER, **method.trained_with.get("*", {}), **method.trained_with.get(dataset, {})}
        given = {name: getattr(self, name) for name in OF_THE_PAPER if getattr(self, name) is not None}
        found = {**paper, **given}
        return found if found["schedule"] == "step" or "halve_every" in given else {**found, "halve_every": None}

    def settings_of(self, scope: str) -> dict[str, Any]:
        """The parameters meant for the dataset, backbone or sampler; for scope "method" those without a scope."""
        scoped = {key: key.partition(".")[0] if key.partition(".")[0] in SCOPES else "method" for key in self.settings}
        return {
            key if scope == "method" else key.partition(".")[2]: value
            for key, value in self.settings.items()
            if scoped[key] == scope
        }
