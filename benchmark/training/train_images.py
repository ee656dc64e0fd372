"""The images of a training: where they lie, and which of them a step of pretraining has, a function of seed and step alone."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Generator, Tensor

from ...core.errors import UsageError
from ...core.random_streams import Purpose, bounded, words
from ...tasks.datasets.split import Split
from .loop.learner import Part

IN_MEMORY = 4 * 2**30  # bytes of images that are held on a CPU
SHARE_OF_GPU = 1 / 4  # of the memory of a GPU that images may take


class StoredImages:
    """The images of a split, on the device where they fit, else read from the memory map batch by batch."""

    def __init__(self, split: Split, device: torch.device) -> None:
        """Load them where there is room."""
        self.device, self.stored = device, split.images
        self.held = torch.from_numpy(np.array(split.images)).to(device) if split.images.nbytes <= _room(device) else None

    def at(self, rows: Tensor) -> Tensor:
        """Images uint8 [B, H, W, C] of rows int64 [B] of the split, on the device."""
        if self.held is not None:
            return self.held[rows.to(self.device)]
        order = rows.argsort()  # rising rows are kinder to the memory map
        images = torch.from_numpy(self.stored[rows[order].numpy()])[order.argsort()]
        return images.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else images


class TrainImages:
    """Images and labels of a split in a new random order each epoch; what does not fill a batch waits for another epoch."""

    def __init__(self, split: Split, batch_size: int, seed: int, device: torch.device) -> None:
        """Open a split.

        Args:
            split: its images and labels.
            batch_size: images a step, of all processes together.
            seed: of the order.
            device: where batches are made.

        Raises:
            UsageError: a batch would be larger than the split.
        """
        if batch_size > len(split.images):
            raise UsageError(f"--batch-size {batch_size}: the train classes have {len(split.images)} images")
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.images, self.labels = StoredImages(split, device), torch.from_numpy(split.labels).to(device)
        self.offsets, self.group = split.offsets, 1
        self._epoch, self._order = -1, torch.empty(0)

    def in_groups(self, size: int) -> TrainImages:
        """The same images, of which a step takes `size` of one class together.

        One of each group comes as before, the others are drawn from its class with replacement.
        """
        grouped = copy.copy(self)
        grouped.group = size
        return grouped

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self.labels) // self.batch_size

    def draw(self, step: int, part: Part) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, H, W, C] and their labels int64 [B] of one step, on the device; of a part, its share of them."""
        rows = self.rows(step)[part.rank :: part.world]
        return self.images.at(rows), self.labels[rows.to(self.device)]

    def rows(self, step: int) -> Tensor:
        """The rows of one step in the split, int64 [batch_size], drawn on the CPU so that they are the same on every device."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            high, low = (int(word) for word in words(self.seed, Purpose.ORDER, 0, epoch, epoch + 1, 2)[0])
            generator = Generator().manual_seed((high << 31) | (low >> 1))
            self._epoch, self._order = epoch, torch.randperm(len(self.labels), generator=generator)
        rows = self._order[place * self.batch_size : (place + 1) * self.batch_size]
        return rows if self.group == 1 else self._with_companions(rows, step)

    def _with_companions(self, rows: Tensor, step: int) -> Tensor:
        """The first rows, each with others of its class behind it, as many in all."""
        leaders = rows.numpy()[np.arange(len(rows)) // self.group]
        classes = np.searchsorted(self.offsets, leaders, side="right") - 1
        drawn = words(self.seed, Purpose.COMPANIONS, 0, step, step + 1, len(rows))[0]
        companions = self.offsets[classes] + bounded(drawn, np.diff(self.offsets)[classes])
        return torch.from_numpy(np.where(np.arange(len(rows)) % self.group, companions, leaders))


def _room(device: torch.device) -> float:
    return SHARE_OF_GPU * torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else IN_MEMORY
