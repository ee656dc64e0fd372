"""How many episodes it takes to tell two methods apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...core.errors import UsageError

FEWEST, MOST = 2, 10**9


@dataclass(frozen=True)
class Power:
    """Episodes that a paired t-test needs.

    Attributes:
        deviation: of the difference between two methods on one episode; a fraction.
        correlation: of the accuracies of both methods over episodes; None where one of them never varies.
        episodes: the smallest number that finds the difference with the power asked for.
        unpaired: the same where each method sees episodes of its own.
    """

    deviation: float
    correlation: float | None
    episodes: int
    unpaired: int


def power_of(a: np.ndarray, b: np.ndarray, difference: float, power: float = 0.8, level: float = 0.95) -> Power:
    """The number of episodes that tell two methods apart, from the spread of their paired differences.

    Args:
        a: float [n], n ≥ 2, accuracies of one method.
        b: float [n], those of another on the same episodes.
        difference: the true difference of the means to be found, a fraction above 0.
        power: the chance to find that difference.
        level: one minus the chance to find a difference where there is none.

    Raises:
        UsageError: a number is out of its range, there are fewer than two episodes, or more than 10^9 would be needed.
    """
    for name, value in (("power", power), ("level", level)):
        if not 0 < value < 1:
            raise UsageError(f"--{name} {value:g}: a number between 0 and 1")
    if not 0 < difference <= 1:
        raise UsageError(f"--difference {100 * difference:g}: points of accuracy above 0, at most 100")
    if len(a) < FEWEST:
        raise UsageError("the records have one common episode; the spread of a difference needs two or more")
    deviation = float(np.std(a - b, ddof=1))
    apart = math.hypot(float(np.std(a, ddof=1)), float(np.std(b, ddof=1)))
    varies = a.std() > 0 and b.std() > 0
    correlation = float(np.corrcoef(a, b)[0, 1]) if varies else None
    return Power(
        deviation,
        correlation,
        _episodes(difference / deviation if deviation else math.inf, power, level, groups=1),
        _episodes(difference / apart if apart else math.inf, power, level, groups=2),
    )


def _episodes(effect: float, power: float, level: float, groups: int) -> int:
    """The smallest n whose two-sided t-test with groups · (n − 1) degrees of freedom has the power.

    Args:
        effect: difference of the means over the deviation of one episode's difference.
        power: as in `power_of`.
        level: as in `power_of`.
        groups: 1 for paired episodes, 2 for episodes of their own.
    """
    if math.isinf(effect):
        return FEWEST
    low, high = FEWEST - 1, FEWEST
    while _power(high, effect, level, groups) < power:
        low, high = high, 2 * high
        if high > MOST:
            raise UsageError(f"more than {MOST} episodes would be needed; ask for a larger --difference")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _power(middle, effect, level, groups) < power else (low, middle)
    return high


def _power(n: int, effect: float, level: float, groups: int) -> float:
    """The chance that the t-test finds the effect with n episodes, by the non-central t distribution."""
    from scipy.special import nctdtr, stdtrit

    freedom = groups * (n - 1)
    limit, shift = float(stdtrit(freedom, (1 + level) / 2)), effect * math.sqrt(n)
    if shift - limit > 30:  # far beyond; the distribution's series need not be summed
        return 1.0
    return float(1 - nctdtr(freedom, shift, limit) + nctdtr(freedom, shift, -limit))
