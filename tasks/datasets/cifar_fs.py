"""CIFAR-FS: the classes of CIFAR-100, split at random into 64, 16 and 20 (Bertinetto et al. 2019, arXiv:1805.08136)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .cifar_100 import Cifar100Subset


@dataclass(frozen=True)
class CifarFs(Cifar100Subset):
    """CIFAR-100's 100 classes of 600 photographs of 32 × 32 pixels, split at random into 64, 16 and 20."""

    name: ClassVar[str] = "cifar-fs"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = (
        "Bertinetto et al. 2019, Meta-learning with differentiable closed-form solvers, arXiv:1805.08136; images of "
        "Krizhevsky 2009, Learning multiple layers of features from tiny images"
    )
