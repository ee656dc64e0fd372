"""Bars below that of the sweep, one for each split that workers encode."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from ...core.progress import Advance, Progress
from ...tasks.datasets.split import Split
from .cluster import Cluster, Reference


@dataclass
class Bar:
    """The bar of a task.

    Attributes:
        closing: removes it.
        advance: of it.
        done: images that it shows.
    """

    closing: ExitStack
    advance: Advance
    done: int = 0


class EncodingBars:
    """The bars of the splits that are being encoded, by their tasks."""

    def __init__(self, cluster: Cluster, progress: Progress) -> None:
        """Show none yet."""
        self.cluster, self.progress = cluster, progress
        self.bars: dict[Reference, Bar] = {}

    def begin(self, reference: Reference, split: Split) -> None:
        """Show a bar for a task that encodes a split."""
        closing = ExitStack()
        title = f"encoding {split.dataset} {split.name}"
        self.bars[reference] = Bar(closing, closing.enter_context(self.progress.track(title, len(split.images), "images")))

    def move(self) -> None:
        """Show what the tasks have done since."""
        for reference, done in self.cluster.encoded(list(self.bars)).items():
            bar = self.bars[reference]
            bar.advance(done - bar.done)
            bar.done = done

    def end(self, reference: Reference) -> None:
        """Remove the bar of a task, where it has one."""
        if reference in self.bars:
            self.bars.pop(reference).closing.close()
