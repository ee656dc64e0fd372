"""Encoding: every image of a split through a frozen backbone once, in the order of its rows."""

from __future__ import annotations

import numpy as np
import torch

from ...tasks.progress import Progress
from .loading import LoadedBackbone

# On a CPU small batches stay in the heap: the large blocks of bigger ones are mapped and unmapped for every layer, which
# made Conv-4 two to five times slower in a trial.
BATCH = {"cpu": 32, "cuda": 512}
VERSION = 1  # changes when the same weights and images give other features


def encode(
    backbone: LoadedBackbone, images: np.ndarray, out: np.ndarray, device: torch.device, progress: Progress, what: str
) -> None:
    """Fill `out` with the features of `images`.

    Args:
        backbone: moved to `device` and left there.
        images: uint8 [n, H, W, C], often memory-mapped; read batch by batch.
        out: float32 [n, D].
        device: where the network runs.
        progress: told of each batch.
        what: the bar's description.
    """
    module = backbone.module.to(device).to(memory_format=torch.channels_last)  # twice as fast as the default on a CPU
    size = BATCH[device.type]
    with torch.inference_mode(), progress.track(what, len(images)) as advance:
        for start in range(0, len(images), size):
            batch = torch.from_numpy(np.array(images[start : start + size])).to(device)
            out[start : start + len(batch)] = module(backbone.preprocess(batch)).float().cpu().numpy()
            advance(len(batch))
