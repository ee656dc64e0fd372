"""First-order MAML: MAML whose meta-gradient takes the gradients of the inner steps as constants.

Finn, Abbeel and Levine 2017, "Model-agnostic meta-learning for fast adaptation of deep networks", arXiv:1703.03400, section
5.2.

The meta-gradient is then the gradient of the queries' loss at the adapted weights. This needs less memory and time, and in the
paper has nearly the same accuracy.

Differs from the paper's released code as MAML does; see maml.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..base import parameter
from .maml import MAML


@dataclass(frozen=True)
class FirstOrderMAML(MAML):
    """First-order MAML: no gradients of gradients in meta-training (Finn et al. 2017)."""

    order: Literal["first", "second"] = parameter("first", "second is MAML itself")
