"""Layouts of published weights: from the names that released code gave its tensors to our networks.

relation-net: the two files of the authors' code (Sung et al. 2018, arXiv:1711.06025), encoder and then relation module:
layer1.0.weight to layer4.1.running_var, and layer1.0.weight to fc2.bias. Our networks have these names already.

maml: one file of a well-known PyTorch port of MAML (Finn et al. 2017, arXiv:1703.03400), four blocks of 3×3 convolution, batch
norm, ReLU and 2×2 max-pooling under a linear classifier, in one of three namings:

    features.layer1.conv.weight, features.layer1.norm.weight, classifier.weight     pytorch-maml
    features.0.0.weight, features.0.1.weight, classifier.weight                     torchmeta's example
    features.0.conv.weight, features.0.normalize.weight, classifier.weight          learn2learn (before 0.1.6: base.…, linear.…)

Those ports keep no running statistics of batch norm, and MAML needs none: mean 0 and variance 1 take their place, so that the
backbone alone is of little use to other methods. learn2learn's network for Omniglot is another one (convolutions with stride 2
instead of pooling, and the mean of the map) whose tensors have the same shapes. Finn's own checkpoints, which have no scale in
batch norm and no PyTorch file, are not read.

How images are made ready is that of the released code: for relation networks by its `Normalize` with mean 0.92206 and deviation
0.08426 of all channels, on Omniglot of black ink on white (our drawings are white on black: the first convolution changes its
sign); for MAML no statistics, pixels from 0 to 1, or from 0 to 255 in learn2learn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from ....core.errors import UsageError, UserError
from ....methods.metric.relation_net import RelationModule, RelationNet
from ....methods.parts.inner_loop import Head
from ..base import Backbone, Preprocess, feature_width
from ..conv4 import BLOCKS, Conv4
from ..relation_encoder import RelationEncoder
from .matching import COUNTER

SHOWN = 3  # names listed in a line
RELATION_MEAN, RELATION_STD = 0.92206, 0.08426
# Channels of the images → their pixels, and the inputs of fc1: Omniglot's and mini-ImageNet's, which the released code is for.
RELATION_IMAGES = {1: (28, 64), 3: (84, 576)}
MAP_SIDES = {1: 28, 2: 32, 5: 84}  # side of Conv-4's last map → pixels of the images that few-shot work has of that size

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Released:
    """Published weights in our networks.

    Attributes:
        method: registered name.
        backbone_name: registered name.
        backbone: the recipe of the network.
        module: the network with the weights.
        learned: what the method learned beside it, with its weights.
        preprocess: makes images ready as the released code did.
        ways: that the weights are bound to; None where they serve any.
        code: whose weights these are.
    """

    method: str
    backbone_name: str
    backbone: Backbone
    module: nn.Module
    learned: nn.Module
    preprocess: Preprocess
    ways: int | None
    code: str


@dataclass(frozen=True)
class Layout:
    """A way of naming tensors.

    Attributes:
        files: what has to be given, in this order.
        read: from the tensors of each file to our networks; raises `UserError` where they are others.
    """

    files: tuple[str, ...]
    read: Callable[[Sequence[Tensors]], Released]


def relation_net(files: Sequence[Tensors]) -> Released:
    """Encoder and relation module of relation networks.

    Raises:
        UserError: the tensors are not those.
    """
    encoder, relation = files
    first, fc1 = encoder.get("layer1.0.weight"), relation.get("fc1.weight")
    if first is None or first.dim() != 4 or "fc1.weight" in encoder:
        raise UserError("the first file is no CNNEncoder of relation networks; give the encoder, then the relation module")
    if fc1 is None or fc1.dim() != 2:
        raise UserError("the second file is no RelationNetwork (it has no fc1); give the encoder, then the relation module")
    channels = _channels(first)
    size, inputs = RELATION_IMAGES[channels]
    inverted = channels == 1  # Omniglot's drawings, which are white on black here: 1 - x is black ink on white
    if fc1.shape[1] != inputs:
        raise UserError(
            f"the two files are no pair: an encoder of {'grey' if inverted else 'colour'} images of {size} pixels goes with "
            f"a relation module whose fc1.weight takes {inputs} numbers, and here it takes {fc1.shape[1]}"
        )
    mean = round(1 - RELATION_MEAN, 5) if inverted else RELATION_MEAN
    preprocess = Preprocess(channels, size, (mean,) * channels, (RELATION_STD,) * channels)
    backbone = RelationEncoder()
    module = backbone.build(channels, size, Generator().manual_seed(0))
    width = feature_width(module.eval(), preprocess)
    learned: RelationModule = RelationNet().learned_part(module, width, 0, Generator().manual_seed(0))
    # (1 - x - mean) / std is -(x - (1 - mean)) / std, and the sign goes into the first convolution.
    _fill(module, {**encoder, "layer1.0.weight": -first} if inverted else encoder, "the encoder")
    _fill(learned, relation, "the relation module")
    code = "Sung et al. 2018 (LearningToCompare_FSL)"
    return Released("relation-net", "relation-encoder", backbone, module, learned, preprocess, None, code)


@dataclass(frozen=True)
class _Naming:
    """How a port of MAML names its tensors; block {0} counts from `first`."""

    code: str
    first: int
    convolution: str
    norm: str
    classifier: str
    white: int = 1  # what a white pixel is to the network

    def renamed(self, tensors: Tensors) -> dict[str, Tensor]:
        """By the names of Conv-4 and, under `classifier.`, of the head."""
        prefixes = {f"{self.classifier}.": "classifier."}
        for block in range(BLOCKS):
            for place, name in ((0, self.convolution), (1, self.norm)):
                prefixes[f"{name.format(block + self.first)}."] = f"{block}.{place}."
        found = {}
        for name, value in tensors.items():
            known = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
            found[name if known is None else prefixes[known] + name.removeprefix(known)] = value
        return found


LEARN2LEARN = "learn2learn"
NAMINGS = (
    _Naming("pytorch-maml", 1, "features.layer{0}.conv", "features.layer{0}.norm", "classifier"),
    _Naming("torchmeta", 0, "features.{0}.0", "features.{0}.1", "classifier"),
    _Naming(LEARN2LEARN, 0, "features.{0}.conv", "features.{0}.normalize", "classifier", white=255),
    _Naming(LEARN2LEARN, 0, "base.{0}.conv", "base.{0}.normalize", "linear", white=255),
)


def maml(files: Sequence[Tensors]) -> Released:
    """Conv-4 and the classifier of a port of MAML.

    Raises:
        UserError: the tensors are not those.
    """
    (tensors,) = files
    tensors = {re.sub(r"^(module\.|model\.)+", "", name): value for name, value in tensors.items()}
    naming = next((one for one in NAMINGS if f"{one.convolution.format(one.first)}.weight" in tensors), None)
    if naming is None:
        known = ", ".join(f"{one.convolution.format(one.first)}.weight" for one in NAMINGS)
        raise UserError(f"the file is of no port of MAML that is known: it has none of {known}; it has {_listed(tensors)}")
    named = naming.renamed(tensors)
    first, classifier = named["0.0.weight"], named.get("classifier.weight")
    if classifier is None or classifier.dim() != 2 or first.dim() != 4:
        raise UserError(f"the file has no linear classifier {naming.classifier}.weight on convolutions, as {naming.code} has")
    channels, width = _channels(first), first.shape[0]
    if naming.code == LEARN2LEARN and channels == 1:
        raise UserError(
            "the file seems to hold learn2learn's OmniglotCNN, which has convolutions with stride 2 where conv4 has pooling"
        )
    size = MAP_SIDES.get(math.isqrt(classifier.shape[1] // width))
    if size is None:
        raise UserError(f"the classifier takes {classifier.shape[1]} numbers, which no map of {width} channels of conv4 has")
    backbone = Conv4(width=width)
    preprocess = Preprocess(channels, size, (0.0,) * channels, (1 / naming.white,) * channels)
    module = backbone.build(channels, size, Generator().manual_seed(0))
    learned = Head(feature_width(module.eval(), preprocess), classifier.shape[0], Generator().manual_seed(0))
    of_head = {name.removeprefix("classifier."): value for name, value in named.items() if name.startswith("classifier.")}
    of_network = {name: value for name, value in named.items() if not name.startswith("classifier.")}
    statistics = {name: value for name, value in module.state_dict().items() if "running_" in name}
    _fill(module, {**statistics, **of_network}, "the network")
    _fill(learned, of_head, "the classifier")
    return Released("maml", "conv4", backbone, module, learned, preprocess, classifier.shape[0], naming.code)


LAYOUTS = {
    "relation-net": Layout(("the encoder", "the relation module"), relation_net),
    "maml": Layout(("the network",), maml),
}


def _channels(first: Tensor) -> int:
    """Of the images that the first convolution takes.

    Raises:
        UserError: they are neither grey nor in colour.
    """
    channels = int(first.shape[1])
    if channels not in (1, 3):
        raise UserError(f"the first convolution takes images of {channels} channels, not 1 or 3")
    return channels


def _fill(module: nn.Module, tensors: Tensors, what: str) -> None:
    """Copy tensors that have to be the module's own, neither fewer nor more; batch norm's counters may lack.

    Raises:
        UserError: they are others; the line lists the first.
    """
    own = {name: value for name, value in module.state_dict().items() if not name.endswith(COUNTER)}
    given = {name: value for name, value in tensors.items() if not name.endswith(COUNTER)}
    problems = [f"{name} is not in the file" for name in own if name not in given]
    problems += [f"{name} is in the file alone" for name in given if name not in own]
    problems += [
        f"{name} is {list(given[name].shape)} and not {list(value.shape)}"
        for name, value in own.items()
        if name in given and (given[name].shape != value.shape or not given[name].is_floating_point())
    ]
    if problems:
        raise UserError(f"{what} does not fit: {_listed(problems)}")
    module.load_state_dict(dict(given), strict=False)


def _listed(names: Sequence[str] | Tensors) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def layout_of(name: str, files: int) -> Layout:
    """A layout by name, for so many files.

    Raises:
        UsageError: an unknown name, or another number of files.
    """
    if name not in LAYOUTS:
        raise UsageError(f"unknown layout '{name}'; known: {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name]
    if files != len(layout.files):
        raise UsageError(f"--layout {name} takes {len(layout.files)} of FILE, {' then '.join(layout.files)}; {files} given")
    return layout
