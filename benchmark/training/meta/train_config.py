"""The options of a meta-training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ....core.errors import UsageError
from ....core.options import Options, Settings, declared, parameter
from ....core.ranges import LARGEST_SEED, LARGEST_SIZE
from ...config import SCOPES
from ...scopes import with_scopes
from ..options import Precision, Schedule, check_layers

if TYPE_CHECKING:
    from ....methods.base import Method

PAPER = "default: the paper's for the dataset"
# Options that are those of the method's paper for the dataset (`Method.trained_with`); these, where the paper says nothing.
OF_THE_PAPER: Settings = {
    "ways": 5, "shots": 1, "queries": 15, "meta_batch": 1, "steps": 10_000, "optimizer": "adam", "learning_rate": 1e-3,
    "weight_decay": 0.0, "schedule": "constant", "halve_every": None, "clip_norm": None, "clip_value": None,
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig(Options):
    """One meta-training. What is None is decided by the method's paper, the network or the device. Each field is an option."""

    later: ClassVar[tuple[str, ...]] = ("smallest_area", "jitter")  # options that came later, as PretrainConfig has them

    method: str = field(metadata=declared("Method that is trained (bench show METHOD says so), or FILE.py:Class."))
    dataset: str = field(metadata=declared("Dataset whose train classes are learnt."))
    backbone: str = parameter("conv4", "Backbone (bench list backbones).")
    weights: str | None = parameter(None, "What to start from, shipped or a file; default: initial weights.")
    ways: int | None = parameter(None, f"Classes a training episode; {PAPER}.", minimum=1, maximum=LARGEST_SIZE)
    shots: int | None = parameter(None, f"Support images a class; {PAPER}.", minimum=1)
    queries: int | None = parameter(None, f"Query images a class; {PAPER}.", minimum=1)
    meta_batch: int | None = parameter(None, f"Episodes a step, of all processes together; {PAPER}.", minimum=1)
    steps: int | None = parameter(None, "Updates; default 10000.", minimum=1)
    sampler: str = parameter("uniform", "Of the training episodes: uniform, semantic, imbalanced or meta-dataset.")
    optimizer: str | None = parameter(None, f"adam, adamw, sgd, locoprop or another that timm knows; {PAPER}.")
    learning_rate: float | None = parameter(None, f"Highest learning rate; {PAPER}.", above=0)
    weight_decay: float | None = parameter(None, f"Weight decay; {PAPER}.", minimum=0)
    schedule: Schedule | None = parameter(None, f"cosine, step or constant; {PAPER}.")
    halve_every: int | None = parameter(None, "Steps after which --schedule step halves the rate.", minimum=1)
    warmup_steps: int = parameter(0, "Steps in which the learning rate rises.", minimum=0)
    clip_norm: float | None = parameter(None, "Length that the gradient may have.", above=0)
    clip_value: float | None = parameter(None, f"Size that an entry of the gradient may have; {PAPER}.", above=0)
    val_ways: int = parameter(5, "Classes a validation episode.", minimum=2, maximum=LARGEST_SIZE)
    val_queries: int = parameter(
        15, "Query images a class in validation episodes, which have the shots of the training.", minimum=1
    )
    val_episodes: int = parameter(600, "Validation episodes.", minimum=1)
    validate_every: int = parameter(500, "Steps between validations.", minimum=1)
    size: int | None = parameter(
        None,
        "Pixels to which images are resized; default: as stored, or as the network wants.",
        minimum=1,
        maximum=LARGEST_SIZE,
    )
    crop: int = parameter(0, "Random shift: at most so many pixels.", minimum=0, maximum=LARGEST_SIZE)
    flip: bool = parameter(False, "Mirror images at random.")
    smallest_area: float | None = parameter(
        None, "Random resized crop of this share of the area (its scale) or more.", minimum=0.01, maximum=1
    )
    jitter: float = parameter(0.0, "Largest change of brightness, contrast and saturation.", minimum=0, maximum=1)
    seed: int = parameter(0, "Seed of initial weights, episodes and augmentation.", minimum=0, maximum=LARGEST_SEED)
    device: str = parameter("auto", "auto, cpu or cuda.")
    precision: Precision | None = parameter(None, "Of the forward pass: fp32, bf16 or fp16; default: bf16 on a GPU.")
    patience: int | None = parameter(None, "Stop after so many validations without a better one.", minimum=1)
    settings: Settings = parameter(
        dict, "Parameter of the method, name=value; backbone., dataset. or sampler. says whose else."
    )

    def __post_init__(self) -> None:
        """Check every field, and what two of them say together.

        Raises:
            UsageError: one line that names the option.
        """
        super().__post_init__()
        check_layers(self.backbone, self.settings)
        if self.crop and self.smallest_area is not None:
            raise UsageError("--crop shifts images and --smallest-area crops them; give one of the two")

    def decided(self, method: type[Method], dataset: str) -> Settings:
        """The options of the paper, as they are given, or else as the method's paper has them for a dataset."""
        paper = {**OF_THE_PAPER, **method.trained_with.get("*", {}), **method.trained_with.get(dataset, {})}
        given = {name: getattr(self, name) for name in OF_THE_PAPER if getattr(self, name) is not None}
        found = {**paper, **given}
        return found if found["schedule"] == "step" or "halve_every" in given else {**found, "halve_every": None}

    def settings_of(self, scope: str) -> Settings:
        """The parameters meant for the dataset, backbone or sampler; for scope "method" those without a scope."""
        settings = with_scopes(self.settings, self.dataset, self.method)
        scoped = {key: key.partition(".")[0] if key.partition(".")[0] in SCOPES else "method" for key in settings}
        return {
            key if scope == "method" else key.partition(".")[2]: value
            for key, value in settings.items()
            if scoped[key] == scope
        }
