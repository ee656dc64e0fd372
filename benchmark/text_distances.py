"""Class distances from the text tower of a CLIP model: how differently it reads the names of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..tasks.errors import UsageError, UserError, did_you_mean

SCHEME = "open_clip:"
PROMPT = "a photo of a {}."  # Radford et al. 2021, arXiv:2103.00020
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


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
    try:
        import open_clip
    except ImportError as error:
        raise UserError(f"distances {SCHEME}{model} need open_clip: pip install 'fewbench[clip]'") from error
    import torch

    architecture, _, tag = model.partition("/")
    if architecture not in open_clip.list_models():
        known = did_you_mean(architecture, open_clip.list_models())
        raise UsageError(f"distances {SCHEME}{model}: unknown architecture '{architecture}'; {known}")
    weights, quick_gelu = _weights(architecture, tag)
    try:
        with torch.random.fork_rng(devices=[]):  # open_clip draws initial weights from the global generator
            network: Any = open_clip.create_model(architecture, pretrained=str(weights), force_quick_gelu=quick_gelu).eval()
    except Exception as error:  # open_clip raises what its parts raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"distances {SCHEME}{model}: {weights.name} does not fit {architecture}: {reason}") from error
    tokens = open_clip.get_tokenizer(architecture)([PROMPT.format(name) for name in names])
    with torch.inference_mode():
        features = torch.nn.functional.normalize(network.encode_text(tokens).double(), dim=1).numpy()  # [C, D]
    return _distances(features)


def _weights(architecture: str, tag: str) -> tuple[Path, bool]:
    """The weights file, and whether its network uses the quick approximation of GELU."""
    import open_clip

    from .backbones.hub import fetch

    if Path(tag).is_file():
        return Path(tag), False
    about = open_clip.get_pretrained_cfg(architecture, tag)
    if not about:
        known = did_you_mean(tag, open_clip.list_pretrained_tags_by_model(architecture))
        raise UsageError(f"distances {SCHEME}{architecture}/{tag}: no such tag or file; {known}")
    repository = about.get("hf_hub", "").strip("/")
    cure = f"name a file: {SCHEME}{architecture}/FILE"
    return fetch(repository, None, FILES, f"distances {SCHEME}{architecture}/{tag}", cure), about.get("quick_gelu", False)


def _distances(features: np.ndarray) -> np.ndarray:
    distances = np.maximum(1 - features @ features.T, 0.0)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    mean = distances.sum() / max(len(distances) * (len(distances) - 1), 1)
    if mean <= 0:
        raise UserError("the text tower reads all class names alike; take another model or a matrix of distances")
    return distances / mean
