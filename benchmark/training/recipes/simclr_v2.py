"""SimCLR v2: SimCLR with a deeper projection head, whose first layer stays behind the backbone.

Chen et al. 2020, "Big self-supervised models are strong semi-supervised learners", arXiv:2006.10029, section 2. The head has
three layers in the place of two. The first one belongs to the network from the start (`backbone.projection`): it is saved,
evaluated and adapted with it, as the paper fine-tunes from the head's first layer.
Differs from the paper: the network is not larger and has no selective kernels; no batch norm behind the head's last layer; no
memory of earlier views; otherwise what SimCLR has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....core.options import Settings
from .simclr import SimClr


@dataclass(frozen=True)
class SimClrV2(SimClr):
    """SimCLR with a projection head of three layers, the first of which stays."""

    citation: ClassVar[str] = (
        "Chen et al. 2020, Big self-supervised models are strong semi-supervised learners, arXiv:2006.10029"
    )

    def backbone_settings(self) -> Settings:
        """The head's first layer is the network's."""
        return {"projection": self.hidden}
