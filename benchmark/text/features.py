"""Text features of classes: each name in every prompt through a text tower, cached on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...core.cache import Entry, Key, digest_of
from ...core.errors import UserError
from ...core.files import cache_root
from ...core.progress import Progress
from ...core.unfinished import Unfinished
from ..backbones.weights.loading import LoadedBackbone
from ..records.identity import file_safe
from .prompts import PromptSet

VERSION = 1  # of the way from names to features
BATCH = 256  # texts encoded at once
FEATURES = "features.npy"


@dataclass(frozen=True)
class EncodedTexts:
    """The description that is stored with text features.

    Attributes:
        key: everything that changes one.
        cut: what is to be said of texts that were too long for the tower; "" where none was.
    """

    key: Key
    cut: str


def text_features(
    backbone: LoadedBackbone, prompts: PromptSet, names: Sequence[str], device: torch.device, progress: Progress
) -> Tensor:
    """The text feature of each class (Radford et al. 2021, arXiv:2103.00020, section 3.1.4).

    All prompts of a class are encoded, each is scaled to length 1, and so is their mean.

    Args:
        backbone: whose text tower reads them.
        prompts: what the names are put into.
        names: readable names, one a class; the same name gives the same feature to the last bit.
        device: where the tower runs and the features are wanted.
        progress: told of texts that are cut, also when the features come from the cache.

    Returns:
        float32 [C, D], each row of length 1.

    Raises:
        UserError: the backbone has no text tower, its features are not finite, or the cache cannot be written.
    """
    precomputed = backbone.precomputed_texts(prompts, names)
    if precomputed is not None:
        return torch.from_numpy(precomputed).to(device)
    distinct = list(dict.fromkeys(names))
    content = key(backbone, prompts, distinct, device.type)

    def fill(unfinished: Unfinished) -> EncodedTexts:
        features, cut = _encode(backbone, prompts, distinct, device, progress)
        np.save(unfinished.folder / FEATURES, features)
        return EncodedTexts(content, cut)

    folder = cache_root() / "text" / f"{file_safe(backbone.name)}-{file_safe(prompts.name)}-{digest_of(content)[:24]}"
    kept = Entry(folder, EncodedTexts).find_or_make(fill, progress, f"encoding texts with {backbone.name}")
    if kept.about.cut:
        progress.say(kept.about.cut)
    place = {name: row for row, name in enumerate(distinct)}
    return torch.from_numpy(kept.array(FEATURES)[[place[name] for name in names]]).to(device)


def key(backbone: LoadedBackbone, prompts: PromptSet, names: Sequence[str], device: str = "cpu") -> Key:
    """Everything that changes a text feature.

    Args:
        backbone: the network and its weights.
        prompts: the texts.
        names: the class names in order.
        device: type of the device; others than the CPU round otherwise.
    """
    return {
        "backbone": backbone.name,
        "parameters": backbone.parameters,
        "weights": backbone.weights_sha256,
        "prompts": prompts.sha256,
        "names": list(names),
        "device": device,
        "code": [VERSION, backbone.code],
    }


def _encode(
    backbone: LoadedBackbone, prompts: PromptSet, names: Sequence[str], device: torch.device, progress: Progress
) -> tuple[np.ndarray, str]:
    """Features float32 [C, D], and what is to be said of texts that are cut ("" where none is)."""
    tower = backbone.text_tower().to(device).eval()
    texts = [text for name in names for text in prompts.fill(name)]  # [C * P], name by name
    pieces, cut = [], []
    with torch.inference_mode(), progress.track(f"encoding texts with {backbone.name}", len(texts), "texts") as advance:
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            pieces.append(normalize(tower(tower.tokenize(batch).to(device)).float(), dim=1))  # [B, D]
            cut += tower.too_long(batch)
            advance(len(batch))
        encoded = torch.cat(pieces).view(len(names), len(prompts.templates), -1)  # [C, P, D]
        features = normalize(encoded.mean(dim=1), dim=1).cpu().numpy()
    if not np.allclose((features**2).sum(axis=1), 1, atol=1e-4):  # NaN, or zero
        raise UserError(f"backbone {backbone.name}: its text features are not finite or are zero; its weights may be damaged")
    if not cut:
        return features, ""
    limit = f"{tower.context_length} tokens that {backbone.name} reads"
    return features, f"{len(cut)} of {len(texts)} texts are longer than the {limit}, and cut there; the first: {cut[0][:80]}"
