"""What a training may choose about its loop: steps, optimiser, schedule, precision and when to stop."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ...tasks.errors import UsageError, did_you_mean

Schedule = Literal["cosine", "step", "constant"]
Precision = Literal["fp32", "bf16", "fp16"]
NOT_IDENTITY = ("time_limit", "checkpoint_seconds")  # may differ from one call of a training to the next


@dataclass(frozen=True)
class LoopOptions:
    """How a learner is trained.

    Attributes:
        steps: updates of the parameters.
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
        for name, known in (("schedule", get_args(Schedule)), ("precision", get_args(Precision))):
            if getattr(self, name) not in known:
                raise UsageError(f"unknown {name} '{getattr(self, name)}'; {did_you_mean(getattr(self, name), known)}")
        for name in ("steps", "validate_every", "halve_every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{_option(name)} {value}: at least 1")
        for name in ("learning_rate", "clip_norm", "clip_value", "time_limit"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{_option(name)} {value:g}: more than 0")
        for name in ("weight_decay", "momentum", "warmup_steps", "checkpoint_seconds", "seed"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise UsageError(f"{_option(name)} {value:g}: at least 0")
        if (self.schedule == "step") != (self.halve_every is not None):
            raise UsageError("--schedule step and --halve-every N belong together")

    def identity(self) -> dict[str, Any]:
        """The options that change what is trained."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_IDENTITY}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
