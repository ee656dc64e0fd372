"""R2-D2: ridge regression as the head of meta-training.

Bertinetto, Henriques, Torr and Vedaldi 2019, "Meta-learning with differentiable closed-form solvers", arXiv:1805.08136.

A linear map W is fitted to the support by ridge regression from features X to one-hot labels Y. With few images and wide
features the Woodbury identity makes the solution cheap: W = Xᵀ(XXᵀ + λI)⁻¹Y needs a system with only one row for each support
image. The scores α·xW + β are differentiable in the features. Meta-training thus makes features that suit ridge regression, and
learns λ, α and β. As in the authors' code, a 1 at the end of every feature makes an intercept.

Differs from the paper: the logarithm of λ is learned, so that λ stays positive. λ starts at 50 and α at 10, as in the authors'
runs on Omniglot (on mini-ImageNet their α starts at 0.0001). Their code divides XXᵀ by the number of support images first; the
paper and this file do not. β moves all scores of a query alike, so that the cross-entropy leaves it at 0.

`ridge` is the same regression for features that were not trained for it, with a λ proportional to their squared norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from ..base import Episodes, Method, one_hot, parameter
from ..parts.similarity import dot_products


class RidgeScalars(nn.Module):
    """The learned λ, α and β."""

    def __init__(self, regularization: float, scale: float) -> None:
        super().__init__()
        self.log_regularization = nn.Parameter(torch.tensor(math.log(regularization)))
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.bias = nn.Parameter(torch.tensor(0.0))


@dataclass(frozen=True)
class R2D2(Method):
    """R2-D2: a ridge regression head, differentiated in closed form (Bertinetto et al. 2019)."""

    meta_trained: ClassVar[bool] = True
    citation: ClassVar[str] = "Bertinetto, Henriques, Torr and Vedaldi 2019, arXiv:1805.08136"

    initial_regularization: float = parameter(50.0, "lambda at the start of meta-training", above=0)
    initial_scale: float = parameter(10.0, "alpha, the factor on the regressed labels, at the start of meta-training", above=0)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> RidgeScalars:
        """The scalars λ, α and β."""
        return RidgeScalars(self.initial_regularization, self.initial_scale)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: α times the regressed one-hot label, plus β."""
        scalars = episodes.learned
        assert isinstance(scalars, RidgeScalars)
        present = (episodes.support_labels >= 0)[..., None]  # [E, S, 1]
        support = pad(episodes.support, (0, 1), value=1.0).double().masked_fill(~present, 0)  # [E, S, D + 1]
        labels = one_hot(episodes.support_labels, episodes.ways, torch.float64)  # [E, S, N]
        regularization = scalars.log_regularization.double().exp()
        weights = _weights(support, labels, regularization).to(episodes.query.dtype)  # [E, N, D + 1]
        regressed = dot_products(episodes.query, weights[..., :-1]) + weights[..., -1][:, None]  # [E, Q, N]
        return scalars.scale * regressed + scalars.bias


def _weights(support: Tensor, labels: Tensor, regularization: Tensor) -> Tensor:
    """Wᵀ, [E, N, D]. Rows of padding are 0 in X [E, S, D], in Y [E, S, N] and thus in the dual, and affect no other row."""
    gram = torch.bmm(support, support.transpose(1, 2))  # [E, S, S]
    system = gram + regularization * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    dual = torch.cholesky_solve(labels, torch.linalg.cholesky(system))  # [E, S, N]
    return torch.bmm(dual.transpose(1, 2), support)
