"""The weights that options name: shipped ones, a file, or a checkpoint of `bench train`, which decides more than weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ....core.errors import UsageError, did_you_mean
from ....core.files import not_a_file
from ....core.options import Settings
from ... import registry
from ...config import RunConfig
from ..base import Backbone
from .checkpoint import Checkpoint, read_checkpoint, read_description
from .description import UNKNOWN, Description, MetaTrained
from .file import with_key

SHIPPED = Path(__file__).parent / "shipped"


def shipped_weights() -> dict[str, Path]:
    """Weights in the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def find_weights(backbone: str, weights: str | None, dataset: str) -> Checkpoint | None:
    """The weights that `--weights` means; without it, the shipped ones pretrained on the dataset.

    Returns:
        The weights, or None for the pretrained weights of the backbone's hub.

    Raises:
        UsageError: there is no such file, or none is shipped for this backbone and dataset.
        UserError: the file is damaged.
    """
    cls: type[Backbone] = registry.load(registry.find("backbones", backbone))
    shipped, hub = shipped_weights(), cls.hub_weights(backbone)
    if hub is not None and weights in (None, hub):
        return None
    if weights is None:
        weights = f"{backbone}-{dataset}"
        if weights not in shipped:
            described = {name: read_description(path) for name, path in shipped.items()}
            fitting = [name for name, about in described.items() if about is not None and about.backbone == backbone]
            raise UsageError(
                f"no {backbone} weights pretrained on {dataset} are shipped; take others with --weights "
                f"({', '.join(fitting) or 'a file'}) or make some: bench pretrain --dataset {dataset} --backbone {backbone}"
            )
    path = shipped.get(weights, Path(weights))
    if not (file := with_key(path)[0]).is_file():
        near = _unfinished(path) or did_you_mean(weights, shipped)
        raise UsageError(f"--weights {weights}: {not_a_file(file)} and no shipped weights; {near}")
    return read_checkpoint(path)


def _unfinished(path: Path) -> str:
    """Where the best state so far of a training lies that would end in these weights; "" where there is none."""
    best = path.parent / f"{path.stem}.training" / "best.safetensors"  # the path may be "" or "/", which have no name
    return f"its training is not finished, {best} is the best state so far" if best.is_file() else ""


def described_checkpoint(path: Path) -> tuple[Description, MetaTrained]:
    """The description of a checkpoint of `bench train`, and the method that it is of; the tensors are not read.

    Raises:
        UsageError: there is no such file, or it is no such checkpoint.
        UserError: the file is damaged.
    """
    if not path.is_file():
        unfinished = _unfinished(path)
        raise UsageError(f"--checkpoint {path}: {not_a_file(path)}" + (f"; {unfinished}" if unfinished else ""))
    description = read_description(path)
    if description is None or description.method is None:
        raise UsageError(f"--checkpoint {path}: made by no bench train; take it with --weights {path}")
    return description, description.method


def brought_by(path: Path) -> Settings:
    """The options of `bench run` that a checkpoint of `bench train` brings: its method, its dataset, and ways and shots.

    Ways and shots are those of the validation that chose the weights; of published weights those of the training. The size of
    images is said by the description itself. What is not known is left out.

    Raises:
        UsageError: there is no such file, or it is no such checkpoint.
        UserError: the file is damaged.
    """
    about, method = described_checkpoint(path)
    of_training, validated = about.made_by.config or {}, about.val_accuracy
    dataset = of_training.get("dataset", about.pretraining.dataset)  # of a plug-in with its folder
    known = {
        "method": method.name,
        "dataset": None if dataset == UNKNOWN.dataset else dataset,
        "ways": method.ways if validated.ways is None else validated.ways,
        "shots": method.shots if validated.shots is None else validated.shots,
    }
    return {name: value for name, value in known.items() if value is not None}


def dataset_settings(path: Path) -> Settings:
    """The parameters of the dataset that a checkpoint was trained on, as `--set dataset.NAME=` has them."""
    parameters = described_checkpoint(path)[0].pretraining.dataset_parameters or {}
    return {f"dataset.{name}": value for name, value in parameters.items()}


def with_checkpoint(config: RunConfig) -> tuple[RunConfig, Checkpoint | None]:
    """The config with what its checkpoint decides: backbone, weights, and the method's parameters where none are set.

    Returns:
        That config and the checkpoint; without `--checkpoint` the config as it is.

    Raises:
        UsageError: the checkpoint is of another method or backbone, or weights are named as well.
        UserError: the file is damaged.
    """
    if config.checkpoint is None:
        return config, None
    path = Path(config.checkpoint)
    about, method = described_checkpoint(path)
    if config.weights is not None:
        raise UsageError("--checkpoint and --weights: take one of them")
    if Path(config.method).name != method.name:  # a plug-in's file is described without its folder
        raise UsageError(
            f"--checkpoint {path} is of method {method.name}, not {config.method}; --weights {path} takes its backbone alone"
        )
    if config.backbone is not None and Path(config.backbone).name != Path(about.backbone).name:
        raise UsageError(f"--checkpoint {path} is of backbone {about.backbone}, not {config.backbone}")
    settings = {**method.parameters, **config.settings}
    decided = replace(config, backbone=config.backbone or about.backbone, weights=config.checkpoint, settings=settings)
    return decided, read_checkpoint(path)
