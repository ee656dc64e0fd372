"""A choice of published numbers, by what `bench list published` takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from ...core.errors import UsageError, did_you_mean, listed
from ...core.options import Options, as_option, parameter
from .beside import Beside, beside_own, place
from .number import PublishedNumber

MANY = 6  # values in a message


@dataclass(frozen=True)
class Choice(Options):
    """The published numbers that have these values; None allows any."""

    dataset: str | None = parameter(None, "a name of the column dataset in published.csv")
    ways: str | None = parameter(None, "classes of an episode, all or varying")
    shots: str | None = parameter(None, "support images of a class, or varying")
    method: str | None = parameter(None, "a name of the column method in published.csv")
    backbone: str | None = parameter(None, "a name of the column backbone in published.csv")
    kind: str | None = parameter(None, "paper (the authors' own), quoted (elsewhere) or rerun (by somebody else)")

    @property
    def given(self) -> dict[str, str]:
        """The values that are not None, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def of(self, numbers: Sequence[PublishedNumber]) -> list[Beside]:
        """The numbers of this choice, task by task: the papers' own first, then quotes, then reruns, the best of each first.

        Raises:
            UsageError: none of all numbers has one of the values.
        """
        for name, value in self.given.items():
            known = {_value(number, name) for number in numbers}
            if value not in known:
                told = (
                    f"known: {listed(sorted(known, key=_by_size), MANY)}"
                    if value.isdecimal()
                    else did_you_mean(value, known, MANY)
                )
                raise UsageError(f"{as_option(name, value)}: no published number has it; {told}")
        tasks = {number.task: order for order, number in reversed([*enumerate(numbers)])}
        found = [one for one in beside_own(numbers) if self._takes(one.number)]
        return sorted(found, key=lambda one: (tasks[one.number.task], *place(one.number)))

    def instead(self, numbers: Sequence[PublishedNumber]) -> str:
        """What there is when one of the values is another, in words; "" where each pair of values excludes the other."""
        return "; ".join(self._instead(numbers))

    def _instead(self, numbers: Sequence[PublishedNumber]) -> Iterator[str]:
        for name in self.given:
            others = {_value(number, name) for number in numbers if self._takes(number, but=name)}
            if others:
                yield f"with another {name}: {listed(sorted(others, key=_by_size), MANY)}"

    def _takes(self, number: PublishedNumber, but: str = "") -> bool:
        return all(_value(number, name) == value for name, value in self.given.items() if name != but)


def _value(number: PublishedNumber, name: str) -> str:
    return str(getattr(number.task if hasattr(number.task, name) else number, name))


def _by_size(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() else (0, text)
