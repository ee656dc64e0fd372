"""A backbone with its weights, ready to encode: what a run loads.

Of weights without a description nothing is known: they count as external, and how images are made ready for them is what the
backbone and `--set backbone.NAME=` say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Generator, nn

from ....core.code_versions import code_of
from ....core.decoding import decode
from ....core.errors import UsageError, UserError
from ....core.options import Settings, parameters_of
from ....core.progress import SILENT, Progress
from ....methods.base import Method
from ....tasks.datasets.reading.image_files import Square
from ... import registry
from ...records.answerer import Backbone as Section
from ...records.answerer import Pretraining
from .. import image_settings, tuning
from ..base import Backbone, Preprocess, feature_width, initial_network
from .checkpoint import Checkpoint, read_checkpoint
from .contradictions import check_described
from .description import UNKNOWN, Description
from .matching import NEEDED, choose, fill

if TYPE_CHECKING:
    from ....tasks.datasets.split import Split
    from ...features.encode import Encoding
    from ...records.sections import Encoded
    from ...text.prompts import PromptSet
    from ..clip.text_tower import TextTower


@dataclass(frozen=True)
class LoadedBackbone:
    """A network with its weights, in evaluation mode, on its device; or, in a subclass, features that stand for one.

    Attributes:
        name: registered name, or `file.py:Class`.
        recipe: what the network was made by, with its parameters.
        module: float [B, C, H, W] → features [B, D].
        preprocess: makes stored images ready for it.
        feature_dim: D.
        weights: name of the weights; those of a hub have the name of their repository.
        weights_sha256: of the weights file without its description.
        pretraining: what the weights have seen.
        code: of the network, as `code_versions.code_of` gives it, with the version of the package that it comes from.
        network_parameters: how many numbers the network has, without adapters.
        tune: which of them a method may move (tuning.py); those alone have `requires_grad`.
        image_settings: what the user set of the preprocessing.
        file: of the weights; None for those of the backbone's hub.
    """

    name: str
    recipe: Backbone
    module: nn.Module
    preprocess: Preprocess
    feature_dim: int
    weights: str
    weights_sha256: str
    pretraining: Pretraining
    code: str
    network_parameters: int
    tune: str = "none"
    image_settings: Settings = field(default_factory=dict)
    file: Path | None = None

    @property
    def parameters(self) -> Settings:
        """Of the architecture, and what was set of the preprocessing."""
        return {**self.recipe.parameters, **self.image_settings}

    @property
    def square(self) -> Square:
        """How a user's photos become images for the network."""
        return self.recipe.square(self.preprocess.size)

    def text_tower(self) -> TextTower:
        """The text tower of the same weights, in evaluation mode on the CPU, made anew at each call.

        Raises:
            UserError: the backbone or the weights have none.
        """
        return self.recipe.text_tower(self.file)

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

    def section(self, encoding: Encoding) -> Section:
        """The record's `backbone` section, with how images are encoded."""
        return Section(
            name=self.name,
            parameters=self.parameters,
            weights=self.weights,
            weights_sha256=self.weights_sha256,
            pretraining=self.pretraining,
            tune=self.tune,
            feature_dim=self.feature_dim,
            changed=(*self.recipe.changed, *self.image_settings),
            network_parameters=self.network_parameters,
            code=self.code,
            precision=encoding.precision,
            compile=encoding.compile,
            preprocess=self.preprocess,
        )


def backbone_class(name: str) -> type[Backbone]:
    """The class of the backbone that the user calls `name`.

    Raises:
        UsageError: an unknown name.
        UserError: a plug-in does not import.
    """
    return registry.load(registry.find("backbones", name))


def make_backbone(name: str, settings: Settings) -> Backbone:
    """The backbone that the user calls `name`, without a network.

    Raises:
        UsageError: an unknown name or parameter.
        UserError: a plug-in does not import.
    """
    return backbone_class(name).from_name(name, settings)


def load_backbone(
    name: str, settings: Settings, weights: Checkpoint | Path | None, progress: Progress = SILENT, tune: str = "none"
) -> LoadedBackbone:
    """Build a network and fill in weights.

    Args:
        name: registered name, `timm:MODEL` or `file.py:Class`.
        settings: parameters of the network; for weights without a description also size, channels, mean and std of the images.
        weights: a weights file, read already or not; None takes the pretrained weights of the backbone's hub.
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
    checkpoint = read_checkpoint(weights) if isinstance(weights, Path) else weights
    about = None if checkpoint is None else checkpoint.description
    of_images, of_network = image_settings.apart(settings, {parameter.name for parameter in parameters_of(cls)})
    if checkpoint is not None and about is not None:
        file = checkpoint.path.name
        if entry.name not in (about.backbone, Path(about.backbone).name):  # a plug-in's file may have a folder
            raise UsageError(
                f"--weights {file} belong to backbone {about.backbone}, not {name}; add --backbone {about.backbone}"
            )
        for setting in of_images:
            raise UsageError(f"backbone {name}: backbone.{setting} cannot be set, the description of {file} says it")
        recipe = _described(cls, name, about, file)
        if of_network:
            recipe = cls.from_name(name, {**about.backbone_parameters, **of_network})
        preprocess = about.preprocess
    else:
        recipe = cls.from_name(name, of_network)
        preprocess, of_images = image_settings.changed_by(recipe.preprocess(), of_images, f"backbone {name}")
    if checkpoint is not None:
        module, sha256 = _filled(checkpoint, name, recipe, preprocess, progress), checkpoint.sha256
    else:
        if settings:  # images that the network does not take are told before a download
            initial_network(recipe, preprocess)
        module, sha256 = recipe.build_from_hub(preprocess.channels)
        progress.say(f"backbone {name}: pretrained weights {cls.hub_weights(name)}")
    return LoadedBackbone(
        name=entry.name,
        recipe=recipe,
        feature_dim=feature_width(module.eval(), preprocess),
        network_parameters=sum(parameter.numel() for parameter in module.parameters()),
        module=tuning.unfreeze(module, tune, recipe),
        preprocess=preprocess,
        weights=cls.hub_weights(name) or "" if checkpoint is None else checkpoint.name,
        weights_sha256=sha256,
        pretraining=_history(cls, checkpoint),
        code=", ".join(filter(None, (code_of(cls), recipe.code_version()))),
        tune=tune,
        image_settings=of_images,
        file=None if checkpoint is None else checkpoint.path,
    )


def _history(cls: type[Backbone], checkpoint: Checkpoint | None) -> Pretraining:
    """What weights have seen, as far as it is known."""
    if checkpoint is None:
        return decode(Pretraining, dict(cls.hub_pretraining()), f"{cls.__name__}.hub_pretraining")
    return UNKNOWN if checkpoint.description is None else checkpoint.description.pretraining


def _filled(checkpoint: Checkpoint, name: str, recipe: Backbone, preprocess: Preprocess, progress: Progress) -> nn.Module:
    """The network with the tensors of a file: all of them where there is a description, else most."""
    module, _ = initial_network(recipe, preprocess)
    about, file = checkpoint.description, checkpoint.path.name
    if about is None:
        chosen, others = choose(module, checkpoint.networks, checkpoint.path)
        progress.say(fill(module, checkpoint.networks[chosen], file, name, NEEDED) + others)
        return module
    described = _described(type(recipe), name, about, file)
    if recipe.parameters != described.parameters:
        check_described(module, recipe, described, preprocess, checkpoint.tensors, checkpoint.path)
    fill(module, checkpoint.tensors, file, name, needed=1.0)
    return module


def _described(cls: type[Backbone], name: str, about: Description, file: str) -> Backbone:
    """The backbone that a file describes.

    Raises:
        UserError: it has a parameter that the backbone lacks, or a value out of its range.
    """
    try:
        return cls.from_name(name, about.backbone_parameters)
    except UsageError as error:
        raise UserError(f"--weights {file}: its description is not as it should be: {error}") from error


def learned_part(
    method: Method, name: str, backbone: LoadedBackbone, ways: int | None, checkpoint: Checkpoint | None
) -> nn.Module | None:
    """The module that a method learns beside the backbone, with the checkpoint's weights or with initial ones.

    Args:
        method: whose module it is.
        name: of the method.
        backbone: that it goes with.
        ways: classes of an episode where there is no checkpoint; None where they vary.
        checkpoint: of the method's training.

    Returns:
        The module in evaluation mode; None where the method learns none.

    Raises:
        UsageError: the method is nothing without training, and there is no checkpoint.
        UserError: the checkpoint's tensors are not those of this method.
    """
    if checkpoint is not None:
        trained = checkpoint.description and checkpoint.description.method
        ways = trained.ways if trained else ways  # None where they varied in training
    elif method.needs_training:
        raise UsageError(f"method {name} has to be trained: bench train --method {name} makes a file for --checkpoint")
    part = method.learned_part(backbone.module, backbone.feature_dim, ways or 0, Generator().manual_seed(0))
    if part is None:
        return None
    if not isinstance(part, nn.Module):
        raise UserError(f"method {name}: learned_part gives {type(part).__name__}; expected a module or None")
    if checkpoint is not None:
        try:
            part.load_state_dict(checkpoint.learned)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"--checkpoint {checkpoint.path} does not fit method {name}: {reason}") from error
    return part.eval().requires_grad_(False)
