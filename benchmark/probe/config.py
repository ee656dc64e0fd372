"""The options of a probe."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import UsageError
from ...core.options import Options, Settings, parameter
from ...core.ranges import LARGEST_SEED
from ..scopes import with_scopes

WITH_ATTRIBUTES = "trifeature, navon, multi-digits, digit-on-image or rand-bit"
SCOPES = ("dataset", "backbone")


@dataclass(frozen=True)
class ProbeConfig(Options):
    """What to probe. Each field is an option of `bench probe`."""

    dataset: str = parameter("trifeature", f"Dataset whose images have attributes: {WITH_ATTRIBUTES}.")
    backbone: str = parameter("conv4", "Backbone (bench list backbones).")
    weights: str | None = parameter(
        None, "Shipped weights or a file; default: those pretrained on the dataset's train classes."
    )
    images: int = parameter(2000, "Images of the train classes that each readout is fitted to.", minimum=10)
    tested: int = parameter(
        2000, "Images of the test classes that it is tested on; half as many val images choose C.", minimum=10
    )
    seed: int = parameter(0, "Seed of the choice of images.", minimum=0, maximum=LARGEST_SEED)
    device: str = parameter("auto", "auto, cpu or cuda.")
    settings: Settings = parameter(dict, "Parameter, name=value; dataset. or backbone. before the name says whose.")

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            UsageError: one line that names the option.
        """
        super().__post_init__()
        object.__setattr__(self, "settings", with_scopes(self.settings, self.dataset))
        for key in self.settings:
            if key.partition(".")[0] not in SCOPES:
                raise UsageError(f"--set {key}: say whose it is: dataset.{key} or backbone.{key}")

    def settings_of(self, scope: str) -> Settings:
        """The parameters meant for the dataset or the backbone."""
        return {key.partition(".")[2]: value for key, value in self.settings.items() if key.partition(".")[0] == scope}
