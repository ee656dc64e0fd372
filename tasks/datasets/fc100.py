"""FC100: the classes of CIFAR-100, split by superclass into 60, 20 and 20 (Oreshkin et al. 2018, arXiv:1805.10123)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .cifar_100 import Cifar100Subset


@dataclass(frozen=True)
class Fc100(Cifar100Subset):
    """CIFAR-100's 100 classes of 600 photographs of 32 × 32 pixels, split by superclass into 60, 20 and 20."""

    name: ClassVar[str] = "fc100"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = (
        "Oreshkin, Rodríguez López and Lacoste 2018, TADAM: Task dependent adaptive metric for improved few-shot learning, "
        "arXiv:1805.10123; images of Krizhevsky 2009, Learning multiple layers of features from tiny images"
    )
