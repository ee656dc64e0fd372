"""Class distances from the text tower of a CLIP model: how differently it reads the names of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.errors import UserError
from ..backbones.clip.open_clip_models import SCHEME, OpenClipModel, find_model

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
        UserError: the hub cannot be reached, the file does not fit, or all names read the same.
    """
    owner = f"distances {SCHEME}{model}"
    import torch

    from ..backbones.clip.text_tower import find_tokenizer, load_text_tower

    found, weights = _weights(model, owner)
    tower = load_text_tower(found, find_tokenizer(found.architecture, owner), weights, owner)
    with torch.inference_mode():
        tokens = tower.tokenize([PROMPT.format(name) for name in names])
        features = torch.nn.functional.normalize(tower(tokens).double(), dim=1).numpy()  # [C, D]
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
