"""Options of a run that have to go together: with the device, the backbone, the method, and each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ...core.errors import UsageError
from ...methods.base import AUTO, Method
from ...tasks.datasets.split import split_name
from .. import registry
from ..backbones.weights.loading import backbone_class
from ..built_in import BUILT_IN
from ..config import RunConfig
from ..device import choose_device
from ..features.encode import Encoding
from .source import Inputs

CHOICES = "val"  # the split whose episodes decide what is "auto"


def check_options(config: RunConfig) -> None:
    """Check what no method decides.

    Raises:
        UsageError: an unknown split or backbone, a device that is not there or lacks the precision, or an option that the
            backbone would not heed.
        UserError: a plug-in does not import.
    """
    split_name(config.split)
    device = choose_device(config.device)
    if config.backbone is not None:
        backbone_class(config.backbone).check_options(config)
    Encoding(config.batch_size, config.precision, config.compile, config.runtime).check(device)


def check_method(config: RunConfig, method: Method) -> tuple[str, Encoding]:
    """The scope of what a method may move, and the encoding of images for it.

    Raises:
        UsageError: options that do not go with the method, or with each other.
    """
    tune = _tune(config, method)
    if config.views is not None and method.inputs_with(tune) == "images":
        raise UsageError(f"--views {config.views}: {config.method} works on images; take a method on features")
    _check_choices(config, method, method.undecided_with(tune))
    inputs = method.inputs_with(tune)
    if inputs == "images" and config.acquire not in (None, "random"):
        raise UsageError(f"--acquire {config.acquire} compares features, and {config.method} works on images; take random")
    return tune, _encoding(config, inputs)


def _tune(config: RunConfig, method: Method) -> str:
    """The scope of what the method may move.

    Raises:
        UsageError: something was named, and the method moves nothing.
    """
    if config.tune not in (None, "none") and not method.adapts:
        adapting = [name for name in BUILT_IN["methods"] if registry.load(registry.find("methods", name)).adapts]
        raise UsageError(f"--tune {config.tune}: {config.method} trains nothing on the support; {', '.join(adapting)} can")
    return config.tune or (method.default_tune if method.adapts else "none")


def _check_choices(config: RunConfig, method: Method, undecided: Sequence[str]) -> None:
    """Check that a run on val sets the parameters that are chosen there: a choice must not see the labels that judge it.

    Raises:
        UsageError: something is left open.
    """
    if undecided and config.split == CHOICES:
        how = setting_of(method, undecided[0])
        raise UsageError(f"{undecided[0]}={AUTO} is chosen on {CHOICES} episodes, which the run reports; set it: {how}")


def setting_of(method: Method, name: str) -> str:
    """The option that sets a parameter which is "auto" to the middle of its candidates."""
    candidates = method.choices[name]
    value = candidates[len(candidates) // 2]
    return f"--set {name}={value:g}" if isinstance(value, float) else f"--set {name}={value}"


def _encoding(config: RunConfig, inputs: Inputs) -> Encoding:
    """How images are encoded; a method on images encodes them itself, with the settings of torch.

    Raises:
        UsageError: such a method, and an option that it would not heed; or a value that no encoding has.
    """
    encoding = Encoding(config.batch_size, config.precision, config.compile, config.runtime)
    for name, default in asdict(Encoding()).items():
        value = getattr(encoding, name)
        if inputs == "images" and value not in (default, "torch"):
            option = f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
            tuned = f" with --tune {config.tune}" if config.tune else ""
            raise UsageError(f"{option}: {config.method}{tuned} works on images, and none are encoded beforehand; leave it out")
    return encoding
