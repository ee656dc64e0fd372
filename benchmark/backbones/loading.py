"""Weights: finding them, loading them, and what is known about how they were made.

Weights are a safetensors file with a JSON file of the same name beside it (the sidecar): which backbone with which
parameters, how images are made ready for it, what it was pretrained on, and the command that made it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Generator, nn

from ...tasks.errors import UsageError, UserError, did_you_mean
from ...tasks.files import sha256_of, write_atomically
from ...tasks.parameters import build, parameters_of
from .. import registry
from .base import Backbone, Preprocess, feature_width

SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class LoadedBackbone:
    """A network with its weights, in evaluation mode, on its device.

    Attributes:
        name: registered name.
        parameters: of the architecture.
        defaults: what the parameters are when nothing is said.
        module: float [B, C, H, W] → features [B, D].
        preprocess: makes stored images ready for it.
        feature_dim: D.
        weights: name of the weights.
        weights_sha256: of the safetensors file.
        pretraining: what the weights have seen, from the sidecar.
        source_sha256: of the code that defines the network.
    """

    name: str
    parameters: dict[str, Any]
    defaults: dict[str, Any]
    module: nn.Module
    preprocess: Preprocess
    feature_dim: int
    weights: str
    weights_sha256: str
    pretraining: dict[str, Any]
    source_sha256: str

    def describe(self) -> dict[str, Any]:
        """The record's `backbone` section."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "changed": [name for name, default in self.defaults.items() if self.parameters[name] != default],
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "pretraining": self.pretraining,
            "tune": "none",
            "feature_dim": self.feature_dim,
        }


def find_weights(backbone: str, weights: str | None, dataset: str) -> Path:
    """The safetensors file that `--weights` means; without it, the shipped weights pretrained on the dataset.

    Raises:
        UsageError: there is no such file, or none is shipped for this backbone and dataset.
    """
    shipped = shipped_weights()
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
        UserError: there is no readable JSON file beside it.
    """
    path = weights.with_suffix(".json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--weights {weights}: needs its description {path.name} beside it ({error})") from error


def load_backbone(name: str, settings: dict[str, Any], weights: Path) -> LoadedBackbone:
    """Build a network and fill in weights.

    Raises:
        UserError: the file is no safetensors file, is truncated, or belongs to another architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    about = sidecar(weights)
    if about["backbone"] != name:
        raise UsageError(f"--weights {weights.name} belong to backbone {about['backbone']}, not {name}")
    cls = registry.load(registry.find("backbones", name))
    backbone: Backbone = build(cls, {**about["backbone_parameters"], **settings}, f"backbone {name}")
    preprocess = Preprocess.from_json(about["preprocess"])
    module = backbone.build(preprocess.channels, preprocess.size, Generator().manual_seed(0))
    try:
        module.load_state_dict(load_file(weights))
    except SafetensorError as error:
        raise UserError(f"--weights {weights.name} is not a whole safetensors file: {error}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--weights {weights.name} do not fit backbone {name}: {reason}") from error
    return LoadedBackbone(
        name=name,
        parameters=asdict(backbone),
        defaults={parameter.name: parameter.default for parameter in parameters_of(cls)},
        module=module.eval().requires_grad_(False),
        preprocess=preprocess,
        feature_dim=feature_width(module, preprocess),
        weights=weights.stem,
        weights_sha256=sha256_of(weights),
        pretraining=about["pretraining"],
        source_sha256=registry.source_sha256(cls),
    )


def save_weights(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write a network's weights and their sidecar, each atomically, the sidecar last."""
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    write_atomically(path, save(state))
    content = {**about, "weights_sha256": sha256_of(path)}
    write_atomically(path.with_suffix(".json"), (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
