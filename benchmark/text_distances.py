"""Class distances from the text tower of a CLIP model: how differently it reads the names of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..tasks.errors import UserError
from .backbones.open_clip_models import SCHEME, OpenClipModel, find_model, open_clip_package

PROMPT = "a photo of a {}."  # Radford et al. 2021, arXiv:2103.00020


def text_distances(model: str, names: Sequence[str]) -> np.ndarray:
    """One minus the cosine of the names' text features, divided by its mean over the pairs of classes.

    The division makes `alpha` mean the same whatever the model: weights are exp(−alpha) at the mean distance.

    Args:
        model: `ARCH/TAG` of open_clip, or `ARCH/FILE` with a weights file.
        names: readable class names.

    Returns:
        float64 [C, C], symmetric, zero on the diagonal.

    Raises:
        UsageError: an unknown architecture or tag.
        UserError: open_clip is not installed, the hub cannot be reached, the file does not fit, or all names read the same.
    """
    owner = f"distances {SCHEME}{model}"
    open_clip = open_clip_package(owner)
    import torch

    found, weights = _weights(model, owner)
    architecture, quick = found.architecture, found.quick_gelu
    try:
        with torch.random.fork_rng(devices=[]):  # open_clip draws initial weights from the global generator
            network: Any = open_clip.create_model(architecture, pretrained=str(weights), force_quick_gelu=quick).eval()
    except Exception as error:  # open_clip raises what its parts raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{owner}: {weights.name} does not fit {architecture}: {reason}") from error
    tokens = open_clip.get_tokenizer(architecture)([PROMPT.format(name) for name in names])
    with torch.inference_mode():
        features = torch.nn.functional.normalize(network.encode_text(tokens).double(), dim=1).numpy()  # [C, D]
    return _distances(features)


def _weights(model: str, owner: str) -> tuple[OpenClipModel, Path]:
    """The network that is meant, and the file of its weights."""
    architecture, _, tag = model.partition("/")
    if Path(tag).is_file():
        return find_model(architecture, owner), Path(tag)
    found = find_model(f"{architecture}/{tag}", owner)  # with the slash: a tag or a file has to be named
    return found, found.fetch(owner, cure=f"name a file: {SCHEME}{architecture}/FILE")


def _distances(features: np.ndarray) -> np.ndarray:
    distances = np.maximum(1 - features @ features.T, 0.0)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    mean = distances.sum() / max(len(distances) * (len(distances) - 1), 1)
    if mean <= 0:
        raise UserError("the text tower reads all class names alike; take another model or a matrix of distances")
    return distances / mean
