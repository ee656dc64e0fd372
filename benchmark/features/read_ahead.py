"""Images read ahead: while the network works on one batch, a thread reads the next from the memory map and sends it over."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ...tasks.datasets.split import Images


def read_ahead(images: Images, start: int, size: int, device: torch.device) -> Generator[Tensor, None, None]:
    """Yield images from row `start` to the end in batches, the next one always under way.

    Args:
        images: uint8 [n, H, W, C], often memory-mapped.
        start: first row, below n.
        size: B, images a batch; the last holds what is left.
        device: where the batches are wanted.

    Yields:
        uint8 [B, H, W, C] on the device.
    """
    read = _to_gpu(device) if device.type == "cuda" else _to_heap

    def part(first: int) -> Callable[[], Tensor]:
        return read(images[first : first + size])  # in the thread: corrupted images are made when they are looked up

    with ThreadPoolExecutor(1, "read-ahead") as thread:
        coming: Future[Callable[[], Tensor]] = thread.submit(part, start)
        for following in range(start + size, len(images) + size, size):
            taken = coming.result()
            if following < len(images):
                coming = thread.submit(part, following)
            yield taken()


def _to_heap(rows: np.ndarray) -> Callable[[], Tensor]:
    batch = torch.from_numpy(np.array(rows))
    return lambda: batch


def _to_gpu(device: torch.device) -> Callable[[np.ndarray], Callable[[], Tensor]]:
    """A reader that copies through pinned memory, on a stream of its own so that copies run beside the network."""
    stream = torch.cuda.Stream(device)

    def read(rows: np.ndarray) -> Callable[[], Tensor]:
        pinned = torch.empty(rows.shape, dtype=torch.uint8, pin_memory=True)
        pinned.numpy()[:] = rows
        with torch.cuda.stream(stream):
            batch = pinned.to(device, non_blocking=True)
            copied = stream.record_event()

        def take() -> Tensor:
            working = torch.cuda.current_stream(device)
            working.wait_event(copied)
            batch.record_stream(working)  # else its memory would be given to a later copy while the network still reads it
            return batch

        return take

    return read
