"""A classifier as a folder: model.json, photos.safetensors and backbone.safetensors. Nothing in it is a pickle."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from ...core.decoding import Undecodable, decode, encode
from ...core.errors import UsageError, UserError
from ...core.files import make_folder, os_errors_named, regular_file, sha256_of, temporary_path
from ...core.options import Settings
from ...core.ranges import LARGEST_SIZE
from ...tasks.datasets.reading.image_files import Square
from ..backbones.weights.checkpoint import read_checkpoint, write_checkpoint
from ..backbones.weights.description import Description, MadeBy, MetaTrained
from ..backbones.weights.file import read_tensors
from ..backbones.weights.loading import learned_part, load_backbone
from ..device import choose_device
from ..evaluation.plan import make_method
from ..records.provenance import package_version
from .calibration import Calibration
from .classifier import Classifier

ABOUT, PHOTOS, BACKBONE = "model.json", "photos.safetensors", "backbone.safetensors"
VERSION = 2  # of the folder's form


@dataclass(frozen=True)
class About:
    """The content of model.json.

    Attributes:
        version: of the folder's form.
        fewbench: that wrote it.
        method: name.
        method_version: as the method declares it: other versions give other scores.
        method_parameters: by name.
        backbone: name.
        classes: names.
        square: how photos are made square.
        calibration: from held-out photos.
        sha256: of the two files with tensors, by name.
    """

    version: int
    fewbench: str | None
    method: str
    method_version: str
    method_parameters: Settings
    backbone: str
    classes: list[str]
    square: Square
    calibration: Calibration
    sha256: dict[str, str]


def save(model: Classifier, folder: Path, overwrite: bool = False) -> None:
    """Write a classifier; the folder is whole or not there.

    Raises:
        UsageError: something is there already, and is not to be replaced.
        UserError: it cannot be written.
    """
    check_free(folder, overwrite)
    make_folder(folder.absolute().parent)
    with os_errors_named(f"cannot write {folder}"):
        temporary = temporary_path(folder.absolute().parent)
        try:
            _write(model, make_folder(temporary / "new"))
            if folder.exists():
                folder.rename(temporary / "old")
            (temporary / "new").rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def check_free(folder: Path, overwrite: bool) -> None:
    """Check that a classifier may be written to a folder: only another classifier is ever replaced.

    Raises:
        UsageError: something is there.
    """
    if not os.path.lexists(folder):
        return
    if not (folder / ABOUT).is_file():
        raise UsageError(f"--output {folder}: there is something else of that name")
    if not overwrite:
        raise UsageError(f"{folder} is there already; take another --output, or replace it with --overwrite")


def _write(model: Classifier, folder: Path) -> None:
    backbone, learned = model.backbone, model.learned
    trained = None if learned is None else MetaTrained(model.method_name, model.method.parameters, len(model.classes))
    described = Description(
        backbone=backbone.name,
        backbone_parameters=backbone.recipe.parameters,
        preprocess=backbone.preprocess,
        pretraining=backbone.pretraining,
        method=trained,
        made_by=MadeBy(weights=backbone.weights, weights_sha256=backbone.weights_sha256),
    )
    network = backbone.module if learned is None else nn.ModuleDict({"backbone": backbone.module, "learned": learned})
    write_checkpoint(folder / BACKBONE, network.state_dict(), described)
    rows = {"features": model.features.cpu().contiguous(), "labels": torch.from_numpy(model.labels)}
    (folder / PHOTOS).write_bytes(save_tensors(rows))
    about = About(
        version=VERSION,
        fewbench=package_version(),
        method=model.method_name,
        method_version=model.method.version,
        method_parameters=model.method.parameters,
        backbone=backbone.name,
        classes=list(model.classes),
        square=model.square,
        calibration=model.calibration,
        sha256={name: sha256_of(folder / name) for name in (BACKBONE, PHOTOS)},
    )
    (folder / ABOUT).write_text(json.dumps(encode(about), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: Path, device: str = "auto") -> Classifier:
    """Read a classifier.

    Raises:
        UserError: the folder holds no classifier, or one of another version, or a file was changed.
    """
    about = _about(folder)
    for name in (BACKBONE, PHOTOS):
        with os_errors_named(f"{folder}: cannot read {name}"):
            found = sha256_of(regular_file(folder / name))
        if found != about.sha256.get(name):
            raise UserError(f"{folder}: {name} is not the file that model.json describes; it was replaced or damaged")
    method, section = make_method(about.method, about.method_parameters)
    if section.version != about.method_version:
        raise UserError(
            f"{folder}: made with version {about.method_version} of {about.method}, and this is version {section.version}; "
            "fit it again"
        )
    checkpoint = read_checkpoint(folder / BACKBONE)
    backbone = load_backbone(about.backbone, {}, checkpoint)
    trained = checkpoint.description is not None and checkpoint.description.method is not None
    learned = learned_part(method, about.method, backbone, len(about.classes), checkpoint) if trained else None
    rows, place = read_tensors(folder / PHOTOS), choose_device(device)
    features, labels = rows.get("features"), rows.get("labels")
    if features is None or labels is None or features.dim() != 2 or features.shape != (len(labels), backbone.feature_dim):
        raise UserError(f"{folder}: {PHOTOS} does not hold features of {about.backbone} with labels")
    if labels.min() < 0 or labels.max() >= len(about.classes):
        raise UserError(f"{folder}: {PHOTOS} has labels of other classes than model.json names")
    return Classifier(
        method, about.method, backbone, learned, features.float().to(place), labels.long().numpy(), tuple(about.classes),
        about.square, about.calibration, place,
    )  # fmt: skip


def _about(folder: Path) -> About:
    """The content of model.json, checked."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; bench fit makes one")
    if not (folder / ABOUT).exists():
        raise UserError(f"{folder}: holds no {ABOUT}, so it is no classifier of bench fit")
    try:
        with os_errors_named(f"{folder}: cannot read {ABOUT}"):
            content = json.loads(regular_file(folder / ABOUT).read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("version") != VERSION:
            raise UserError(f"{folder}: {ABOUT} has version {content.get('version')!r:.40}, this fewbench reads {VERSION}")
        about = decode(About, content)
    except (Undecodable, ValueError, RecursionError) as error:
        raise UserError(f"{folder}: {ABOUT} is damaged: {str(error) or 'nested too deeply'}") from error
    if (
        not 1 <= about.square.size <= LARGEST_SIZE
        or not 0 < about.square.share <= 1
        or len(about.classes) < 2
        or about.calibration.temperature <= 0
    ):
        raise UserError(f"{folder}: {ABOUT} is damaged: a size, the classes or the temperature cannot be")
    return about
