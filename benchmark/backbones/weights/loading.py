"""Weights: finding them, loading them, and what is known about how they were made.

Weights of our own are a safetensors file with a JSON file of the same name beside it (the sidecar): which backbone with which
parameters, how images are made ready for it, what it was pretrained on, and the command that made it. Of weights without a
sidecar nothing is known: they count as external.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ....core.errors import UsageError, UserError, did_you_mean
from ....core.files import sha256_of, write_atomically
from ....core.options import parameters_of
from ....core.progress import SILENT, Progress
from ... import registry
from ...records.schema import problem
from .. import image_settings, tuning
from ..base import WITH_TEXT, Backbone, Preprocess, feature_width
from .file import read_tensors
from .matching import NEEDED, fill
from .sidecar import check_described, initial_network

if TYPE_CHECKING:
    from ....tasks.datasets.base import Split
    from ...features.encode import Encoding
    from ...features.table import Encoded
    from ...text.prompts import PromptSet
    from ..text_tower import TextTower

SHIPPED = Path(__file__).parent / "shipped"
UNTRAINED = "none"  # the recipe of weights that nothing has changed
UNKNOWN = {"dataset": "unknown", "recipe": "unknown", "external": True}  # pretraining of weights without a sidecar
SIDECAR = {
    "backbone": str,
    "backbone_parameters": dict,
    "preprocess": {"channels": int, "size": int, "mean": list, "std": list},
    "pretraining": {"dataset": str, "recipe": str, "external": bool},
}


@dataclass(frozen=True)
class LoadedBackbone:
    """A network with its weights, in evaluation mode, on its device; or, in a subclass, features that stand for one.

    Attributes:
        name: registered name, or `file.py:Class`.
        parameters: of the architecture, and what was set of the preprocessing.
        changed: names of the parameters that differ from their defaults.
        module: float [B, C, H, W] → features [B, D].
        preprocess: makes stored images ready for it.
        feature_dim: D.
        weights: name of the weights; those of a hub have the name of their repository.
        weights_sha256: of the weights file.
        pretraining: what the weights have seen, from the sidecar.
        source_sha256: of the code that defines the network, with the version of the package that it comes from.
        network_parameters: how many numbers the network has, without adapters.
        tune: which of them a method may move (tuning.py); those alone have `requires_grad`.
        backbone: the recipe of the network; None where there is no network.
        file: of the weights; None for those of the backbone's hub.
    """

    name: str
    parameters: dict[str, Any]
    changed: list[str]
    module: nn.Module
    preprocess: Preprocess
    feature_dim: int
    weights: str
    weights_sha256: str
    pretraining: dict[str, Any]
    source_sha256: str
    network_parameters: int
    tune: str = "none"
    backbone: Backbone | None = None
    file: Path | None = None

    def text_tower(self) -> TextTower:
        """The text tower of the same weights, in evaluation mode on the CPU, made anew at each call.

        Raises:
            UserError: the backbone or the weights have none.
        """
        if self.backbone is None:
            raise UserError(f"backbone {self.name} has no text tower; {WITH_TEXT}")
        return self.backbone.text_tower(self.file)

    def precomputed(self, split: Split) -> tuple[np.ndarray, Encoded | None] | None:
        """Features of a split that were made elsewhere, [n, D], and how, if it is known; None where the network encodes.

        Raises:
            UserError: they are of other images.
        """
        return None

    def precomputed_texts(self, prompts: PromptSet, names: Sequence[str]) -> np.ndarray | None:
        """Features of class names that were made elsewhere, float32 [C, D] of length 1; None where the text tower encodes.

        Raises:
            UserError: there are others, or none.
        """
        return None

    def describe(self) -> dict[str, Any]:
        """The record's `backbone` section."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "changed": self.changed,
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "pretraining": self.pretraining,
            "preprocess": {**asdict(self.preprocess), "mean": [*self.preprocess.mean], "std": [*self.preprocess.std]},
            "tune": self.tune,
            "network_parameters": self.network_parameters,
            "feature_dim": self.feature_dim,
        }

    def section(self, encoding: Encoding) -> dict[str, Any]:
        """The record's `backbone` section with the code, and with how images were encoded."""
        made = {"source_sha256": self.source_sha256, "precision": encoding.precision, "compile": encoding.compile}
        return {**self.describe(), **made}


def backbone_class(name: str) -> type[Backbone]:
    """The class of the backbone that the user calls `name`.

    Raises:
        UsageError: an unknown name.
        UserError: a plug-in does not import.
    """
    return registry.load(registry.find("backbones", name))


def make_backbone(name: str, settings: Mapping[str, Any]) -> Backbone:
    """The backbone that the user calls `name`, without a network.

    Raises:
        UsageError: an unknown name or parameter.
        UserError: a plug-in does not import.
    """
    return backbone_class(name).from_name(name, settings)


def find_weights(backbone: str, weights: str | None, dataset: str) -> Path | None:
    """The file that `--weights` means; without it, the shipped weights pretrained on the dataset.

    Returns:
        The file, or None for the pretrained weights of the backbone's hub.

    Raises:
        UsageError: there is no such file, or none is shipped for this backbone and dataset.
    """
    cls = backbone_class(backbone)
    shipped, hub = shipped_weights(), cls.hub_weights(backbone)
    if hub is not None and weights in (None, hub):
        return None
    if weights is None:
        weights = f"{backbone}-{dataset}"
        if weights not in shipped:
            fitting = [name for name in shipped if sidecar(shipped[name])["backbone"] == backbone]
            raise UsageError(
                f"no {backbone} weights pretrained on {dataset} are shipped; take others with --weights "
                f"({', '.join(fitting) or 'a file'}) or make some: bench pretrain --dataset {dataset} --backbone {backbone}"
            )
    if weights in shipped:
        return shipped[weights]
    path = Path(weights)
    if not path.is_file():
        raise UsageError(f"--weights {weights}: no such file and no shipped weights; {did_you_mean(weights, shipped)}")
    return path


def shipped_weights() -> dict[str, Path]:
    """Weights in the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def sidecar(weights: Path) -> dict[str, Any]:
    """What is known about a weights file.

    Raises:
        UserError: the JSON file beside it is not there, not readable, or lacks something.
    """
    path = weights.with_suffix(".json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--weights {weights}: its description {path.name} cannot be read ({error})") from error
    found = problem(content, SIDECAR, path.name)
    if found:
        raise UserError(f"--weights {weights}: its description is not complete: {found}")
    return content


def load_backbone(
    name: str, settings: dict[str, Any], weights: Path | None, progress: Progress = SILENT, tune: str = "none"
) -> LoadedBackbone:
    """Build a network and fill in weights.

    Args:
        name: registered name, `timm:MODEL` or `file.py:Class`.
        settings: parameters of the network; for weights without a sidecar also size, channels, mean and std of the images.
        weights: a safetensors or PyTorch file; None takes the pretrained weights of the backbone's hub.
        progress: told what matched, where that is not everything or nothing is known about the file.
        tune: which parameters a method may move, one of `tuning.SCOPES`.

    Raises:
        UsageError: an unknown name, parameter or scope.
        UserError: the file is no weights file, is truncated, or belongs to another architecture; the hub cannot be reached;
            the network has nothing of the scope.
    """
    tuning.check_scope(tune)
    entry = registry.find("backbones", name)
    cls: type[Backbone] = registry.load(entry)
    owner = f"backbone {name}"
    of_images, of_network = image_settings.apart(settings, {parameter.name for parameter in parameters_of(cls)})
    about: dict[str, Any] = {}
    if weights is not None and weights.with_suffix(".json").is_file():
        about = sidecar(weights)
        if entry.name not in (about["backbone"], Path(about["backbone"]).name):  # a plug-in's file may have a folder
            raise UsageError(f"--weights {weights.name} belong to backbone {about['backbone']}, not {name}")
        for setting in of_images:
            raise UsageError(f"{owner}: backbone.{setting} cannot be set, the description of {weights.name} says it")
        backbone = cls.from_name(name, {**about["backbone_parameters"], **of_network})
        described = cls.from_name(name, about["backbone_parameters"])
        preprocess, pretraining, needed = Preprocess.from_json(about["preprocess"]), about["pretraining"], 1.0
    else:
        backbone = described = cls.from_name(name, of_network)
        preprocess, of_images = image_settings.changed_by(backbone.preprocess(), of_images, owner)
        pretraining, needed = UNKNOWN, NEEDED
    if weights is None:
        if settings:  # images that the network refuses are told before a download
            initial_network(backbone, preprocess)
        module, sha256 = backbone.build_from_hub(preprocess.channels)
        feature_dim = feature_width(module.eval(), preprocess)
        progress.say(f"{owner}: pretrained weights {cls.hub_weights(name)}")
    else:
        module, feature_dim = initial_network(backbone, preprocess)
        tensors = read_tensors(weights)
        if needed == 1 and backbone.parameters != described.parameters:
            check_described(module, backbone, described, preprocess, tensors, weights)
        said = fill(module, tensors, weights.name, name, needed)
        sha256 = sha256_of(weights)
        if about.get("weights_sha256", sha256) != sha256:
            raise UserError(f"--weights {weights}: {weights.with_suffix('.json').name} beside it describes another file")
        if needed < 1:
            progress.say(said)
    network_parameters = sum(parameter.numel() for parameter in module.parameters())
    module = tuning.free(module, tune, backbone)
    return LoadedBackbone(
        name=entry.name,
        parameters={**backbone.parameters, **of_images},
        changed=[*backbone.changed, *of_images],
        module=module,
        preprocess=preprocess,
        feature_dim=feature_dim,
        weights=cls.hub_weights(name) or "" if weights is None else weights.stem,
        weights_sha256=sha256,
        pretraining=pretraining,
        source_sha256=_source_sha256(backbone),
        network_parameters=network_parameters,
        tune=tune,
        backbone=backbone,
        file=weights,
    )


def _source_sha256(backbone: Backbone) -> str:
    """Of the backbone's code; a package whose code is not read counts with its version."""
    source, version = registry.source_sha256(type(backbone)), backbone.code_version()
    return hashlib.sha256(f"{source} {version}".encode()).hexdigest() if version else source


def save_weights(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write a network's weights and their sidecar, each atomically, the sidecar last."""
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    write_atomically(path, save(state))
    content = {**about, "weights_sha256": sha256_of(path)}
    write_atomically(path.with_suffix(".json"), (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
