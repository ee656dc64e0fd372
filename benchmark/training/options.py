"""Options of the training loop: steps, optimiser, schedule, precision and when to stop."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

from ...core.errors import UsageError
from ...core.options import Options, Settings, declared, parameter
from ...core.ranges import LARGEST_SEED

Schedule = Literal["cosine", "step", "constant"]
Precision = Literal["fp32", "bf16", "fp16"]
# Options that are short for parameters of a backbone, with those that have them and timm's name for each.
OF_LAYERS = {
    "norm": ("conv4, resnet12 and wrn-28-10", "norm_layer"),
    "activation": ("conv4, resnet12, wrn-28-10, relation-encoder and vit", "act_layer"),
}
NOT_IDENTITY = ("time_limit", "checkpoint_seconds")  # may differ from one call of a training to the next


@dataclass(frozen=True)
class LoopOptions(Options):
    """The options of one training. The learner has seeds of its own for data and initial weights.

    Attributes:
        steps: updates of the parameters; 0 validates the initial ones and keeps them.
        validate_every: steps between validations; the last step is validated too.
        seed: of dropout and the like.
    """

    steps: int = field(metadata=declared(minimum=0))
    validate_every: int = field(metadata=declared(minimum=1))
    optimizer: str = parameter(
        "adamw", "a name that timm.optim knows; momentum is SGD without Nesterov's, sgd with it; or locoprop"
    )
    learning_rate: float = parameter(1e-3, "the highest", above=0)
    weight_decay: float = parameter(0.0, "biases and the parameters of norm layers are left out of it", minimum=0)
    momentum: float = parameter(0.9, "of optimisers that have one", minimum=0, below=1)
    schedule: Schedule = parameter("cosine", "cosine (to zero at the last step), step (halved again and again) or constant")
    halve_every: int | None = parameter(None, "steps; for schedule step, counted from the end of the warm-up", minimum=1)
    warmup_steps: int = parameter(0, "the learning rate rises in a line from a hundredth", minimum=0)
    clip_norm: float | None = parameter(None, "gradients longer than this, all together, are shortened to it", above=0)
    clip_value: float | None = parameter(None, "entries of gradients are kept within ± this", above=0)
    precision: Precision = parameter("fp32", "of the forward pass; fp16 scales the loss")
    patience: int | None = parameter(None, "stop after so many validations without a better one", minimum=1)
    time_limit: float | None = parameter(None, "seconds after which this call stops at a checkpoint", above=0)
    checkpoint_seconds: float = parameter(30.0, "at most so much work is lost to a kill", minimum=0)
    seed: int = parameter(0, "of dropout and the like", minimum=0, maximum=LARGEST_SEED)

    def __post_init__(self) -> None:
        """Check every field, and schedule and halving together.

        Raises:
            UsageError: a value is out of range or unknown.
        """
        super().__post_init__()
        if (self.schedule == "step") != (self.halve_every is not None):
            raise UsageError("--schedule step and --halve-every N belong together")

    def identity(self) -> Settings:
        """The options that change what is trained."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_IDENTITY}


@dataclass(frozen=True)
class Effort(Options):
    """How a command that trains is carried out; what is trained does not depend on it."""

    time_limit: float | None = parameter(None, "Stop after so many seconds; the same command goes on.", above=0)
    overwrite: bool = parameter(False, "Repeat what is finished, or replace another.")
    force: bool = parameter(False, "Begin an interrupted training anew.")


USUAL_EFFORT = Effort()


def check_layers(backbone: str, settings: Settings) -> None:
    """Check that a backbone has the parameters that `--norm` and `--activation` set.

    Args:
        backbone: as the user calls it.
        settings: parameters with their scope, such as `backbone.norm`.

    Raises:
        UsageError: it is a timm model.
    """
    for name, (owners, of_timm) in OF_LAYERS.items():
        if settings.get(f"backbone.{name}") is not None and backbone.startswith("timm:"):
            raise UsageError(f"--{name} is for {owners}; for timm models set backbone.{of_timm}")
