"""Images of the user's program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from ....core.errors import UsageError
from .base import Indexed
from .counted import Counted, counted_of


@dataclass(frozen=True)
class Given(Indexed):
    """Images of the user's program (`Dataset.from_arrays`, `Dataset.from_torch`)."""

    name: ClassVar[str] = "arrays"
    given: ClassVar[Counted]

    @cached_property
    def counted(self) -> Counted:
        """The images."""
        return self.given


def given(images: Any, class_names: Sequence[str] | None, name: str) -> Given:
    """A dataset of what gives (image, label) by number.

    Raises:
        UserError: an image or a label is of an unknown form.
    """
    counted = counted_of({"all": images}, name, class_names, sampled=False)
    return Given.called(name, given=counted)()


def paired(images: Any, labels: Any) -> list[tuple[Any, Any]]:
    """Images with their labels.

    Raises:
        UsageError: there are not as many.
    """
    if len(images) != len(labels):
        raise UsageError(f"{len(images)} images and {len(labels)} labels: one label an image")
    return list(zip(images, labels, strict=True))
