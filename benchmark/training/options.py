"""What a training may choose about its loop: steps, optimiser, schedule, precision and when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ...core.errors import UsageError, did_you_mean

Schedule = Literal["cosine", "step", "constant"]
Precision = Literal["fp32", "bf16", "fp16"]
KNOWN = {"schedule": get_args(Schedule), "precision": get_args(Precision)}
LEAST = {  # of options that are numbers
    "epochs": 0, "batch_size": 1, "steps": 1, "validate_every": 1, "halve_every": 1, "patience": 1, "size": 1, "crop": 0,
    "ways": 1, "shots": 1, "queries": 1, "meta_batch": 1, "val_ways": 2, "val_queries": 1, "val_episodes": 1,
    "weight_decay": 0, "momentum": 0, "warmup_steps": 0, "warmup_epochs": 0, "checkpoint_seconds": 0,
}  # fmt: skip
BETWEEN = {"smallest_area": (0.01, 1), "jitter": (0, 1)}
ABOVE_ZERO = ("learning_rate", "clip_norm", "clip_value", "time_limit")
NOT_IDENTITY = ("time_limit", "checkpoint_seconds")  # may differ from one call of a training to the next


@dataclass(frozen=True)
class LoopOptions:
    """How a learner is trained.

    Attributes:
        steps: updates of the parameters; 0 validates the initial ones and keeps them.
        validate_every: steps between validations; the last step is validated too.
        optimizer: a name that timm.optim knows, such as adam, adamw, sgd (with Nesterov momentum) or momentum (SGD without).
        learning_rate: the highest.
        weight_decay: biases and the parameters of norm layers are left out of it.
        momentum: of optimisers that have one.
        schedule: cosine (to zero at the last step), step (a half after every `halve_every` steps) or constant.
        halve_every: for schedule step; counted from the end of the warm-up.
        warmup_steps: the learning rate rises in a line from a hundredth.
        clip_norm: gradients longer than this, all together, are shortened to it.
        clip_value: entries of gradients are kept within ± this.
        precision: of the forward pass; fp16 scales the loss.
        patience: stop after so many validations without a better one.
        time_limit: seconds after which this call stops at a checkpoint.
        checkpoint_seconds: at most so much work is lost to a kill.
        seed: of dropout and the like; the learner has its own for data and initial weights.
    """

    steps: int
    validate_every: int
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: Schedule = "cosine"
    halve_every: int | None = None
    warmup_steps: int = 0
    clip_norm: float | None = None
    clip_value: float | None = None
    precision: Precision = "fp32"
    patience: int | None = None
    time_limit: float | None = None
    checkpoint_seconds: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            UsageError: a value is out of range or unknown.
        """
        check_options({name: value for name, value in vars(self).items() if (name, value) != ("steps", 0)})
        if (self.schedule == "step") != (self.halve_every is not None):
            raise UsageError("--schedule step and --halve-every N belong together")

    def identity(self) -> dict[str, Any]:
        """The options that change what is trained."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_IDENTITY}


def check_options(values: Mapping[str, Any]) -> None:
    """Refuse values of a training's options that are unknown or out of range; None is left open, and other names are ignored.

    Args:
        values: by name, as the fields of `LoopOptions`, `PretrainConfig` and `TrainConfig` are called.

    Raises:
        UsageError: one line that names the option.
    """
    given = {name: value for name, value in values.items() if value is not None}
    for name, known in KNOWN.items():
        if name in given and given[name] not in known:
            raise UsageError(f"unknown {name} '{given[name]}'; {did_you_mean(given[name], known)}")
    for name, value in given.items():
        option = f"--{name.replace('_', '-')} {value:g}" if isinstance(value, float) else f"--{name.replace('_', '-')} {value}"
        if name in LEAST and not LEAST[name] <= value < float("inf"):
            raise UsageError(f"{option}: at least {LEAST[name]}")
        if name in BETWEEN and not BETWEEN[name][0] <= value <= BETWEEN[name][1]:
            raise UsageError(f"{option}: from {BETWEEN[name][0]} to {BETWEEN[name][1]}")
        if name in ABOVE_ZERO and not 0 < value < float("inf"):
            raise UsageError(f"{option}: more than 0")
        if name == "seed" and not 0 <= value < 2**64:
            raise UsageError(f"{option}: a seed is a whole number from 0 to 2^64 - 1")


def check_norm(backbone: str, norm: object) -> None:
    """Refuse `--norm` for models that have no parameter of that name.

    Args:
        backbone: as the user calls it.
        norm: what was asked for; None: nothing.

    Raises:
        UsageError: it is a timm model.
    """
    if norm is not None and backbone.startswith("timm:"):
        raise UsageError("--norm is for conv4, resnet12 and wrn-28-10; for timm models set backbone.norm_layer")
