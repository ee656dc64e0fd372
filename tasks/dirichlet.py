"""Shares that follow a symmetric Dirichlet distribution."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaincinv

from ..core.random_streams import uniform


def log_shares(random_words: np.ndarray, concentration: float) -> np.ndarray:
    """Logarithms of Dirichlet shares up to a constant of each row: logarithms of independent Gamma(concentration) draws.

    Gamma(a) is drawn as Gamma(a + 1) · U^(1/a). Neither factor underflows, however small the concentration is.

    Args:
        random_words: uint32 [E, 2 · N].
        concentration: parameter of the distribution, > 0: small is uneven, large is even.

    Returns:
        float64 [E, N].
    """
    ways = random_words.shape[1] // 2
    middle = uniform(random_words) - 2.0**-33  # strictly between 0 and 1
    return np.log(gammaincinv(concentration + 1, middle[:, :ways])) + np.log(middle[:, ways:]) / concentration
