"""The numbers that an option may take, and the largest that any may."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

LARGEST_SIZE = 4096  # pixels of a side or channels of a layer: more fits into no machine of today
LARGEST_COUNT = 1_000_000_000  # episodes, steps or images: years of work
LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class Range:
    """The numbers that an option may take; a bound that is None is open."""

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None

    def fault(self, value: float) -> str:
        """The bounds in words where a number lies outside them; "" where it lies within."""
        low = (self.minimum is None or value >= self.minimum) and (self.above is None or value > self.above)
        high = (self.maximum is None or value <= self.maximum) and (self.below is None or value < self.below)
        if isinstance(value, float) and not math.isfinite(value):
            return "not a finite number"
        if low and high:
            return ""
        if self.maximum in (LARGEST_SIZE, LARGEST_COUNT):  # the largest number is no help to a user who asks for 0 shots
            return str(dataclasses.replace(self, maximum=None) if high else Range(maximum=self.maximum))
        return str(self)

    def __str__(self) -> str:
        """The bounds in words: `at least 1`, `above 0`, `from 0 to 1`, `from 0 to below 1`."""
        low = self.minimum if self.minimum is not None else self.above
        high = self.maximum if self.maximum is not None else self.below
        if low is None or high is None:
            words = {"at least": self.minimum, "above": self.above, "at most": self.maximum, "below": self.below}
            return "".join(f"{word} {_number(bound)}" for word, bound in words.items() if bound is not None)
        first = "from" if self.minimum is not None else "above"
        closed, bounded = self.minimum is not None, self.maximum is not None
        second = {(True, True): "to", (True, False): "to below", (False, True): "and at most", (False, False): "and below"}
        return f"{first} {_number(low)} {second[closed, bounded]} {_number(high)}"


def _number(bound: float) -> str:
    return "2^64 - 1" if bound == LARGEST_SEED else f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
