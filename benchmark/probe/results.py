"""What a probe found, and its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ...core.decoding import decode, encode
from ...core.errors import UserError
from ...core.files import os_errors_named, regular_file, write_atomically
from ...core.options import Settings
from ..records.answerer import Backbone
from ..records.sections import Code


@dataclass(frozen=True)
class Readout:
    """One attribute at one layer.

    Attributes:
        layer: name of the layer.
        width: its numbers an image.
        attribute: name of the attribute.
        before: accuracy with the initial weights.
        after: accuracy with the weights.
        costs: C of either readout.
    """

    layer: str
    width: int
    attribute: str
    before: float
    after: float
    costs: tuple[float, float]


@dataclass(frozen=True)
class Probe:
    """What `bench probe` found.

    Attributes:
        dataset: its name.
        dataset_parameters: all that differ from their defaults.
        fingerprints: of the images of each split.
        backbone: the network with its weights, as records have it.
        values: the number of values of each attribute; one over it is chance.
        images: number of images of the fit, the choice of C and the test.
        seed: of the choice of images.
        readouts: of each attribute at each layer, layer by layer.
        fewbench: version of this package.
    """

    dataset: str
    dataset_parameters: Settings
    fingerprints: dict[str, str]
    backbone: Backbone
    values: dict[str, int]
    images: dict[str, int]
    seed: int
    readouts: tuple[Readout, ...]
    fewbench: Code

    @property
    def layers(self) -> list[str]:
        """Names of the layers in their order."""
        return list(dict.fromkeys(one.layer for one in self.readouts))

    def at(self, layer: str, attribute: str) -> Readout:
        """The readout of an attribute at a layer."""
        return next(one for one in self.readouts if (one.layer, one.attribute) == (layer, attribute))


def write_probe(found: Probe, path: Path) -> None:
    """Write a probe as JSON."""
    text = json.dumps(encode(found), indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode())


def read_probe(path: Path) -> Probe:
    """Read what `write_probe` wrote.

    Raises:
        UserError: there is no such file, or it is no probe.
    """
    try:
        with os_errors_named("cannot read"):
            return decode(Probe, json.loads(regular_file(path).read_bytes()))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no result of bench probe: {error}") from error


def training_of(found: Probe) -> str:
    """What the weights have learned, in a few words: "trifeature, label=shape" or "digit-on-image, simclr"."""
    seen = found.backbone.pretraining
    if seen is None:
        return found.backbone.weights or "initial weights"
    recipe = [] if seen.recipe == "supervised" else [seen.recipe]
    parameters = sorted((seen.dataset_parameters or {}).items(), key=lambda one: one[0] != "label")  # which comes first
    changed = [f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in parameters]
    return ", ".join([seen.dataset, *recipe, *changed])
