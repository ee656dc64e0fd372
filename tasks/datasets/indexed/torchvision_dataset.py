"""Dataset classes of torchvision."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from ....core.errors import UsageError, UserError, did_you_mean
from ....core.files import cache_root
from ....core.options import build, parameter
from .base import Indexed
from .counted import Counted, counted_of

PARTS = {"train": ("train", "test"), "split": ("train", "val", "test"), "image_set": ("train", "val")}  # by argument
BASES = ("DatasetFolder", "VisionDataset")


@dataclass(frozen=True)
class Torchvision(Indexed):
    """A dataset class of torchvision, such as torchvision:CIFAR100, with the class names that it brings."""

    name: ClassVar[str] = "torchvision:NAME"

    root: str = parameter("", "folder that the class reads; empty: the cache, into which it downloads where it can")
    parts: str = parameter("", "values of its argument split or train, with commas between them; empty: all that it has")

    @classmethod
    def from_name(cls, name: str, settings: Mapping[str, Any]) -> Self:
        """The dataset of a name.

        Raises:
            UsageError: an unknown parameter, or torchvision has no such class.
        """
        made = build(cls.called(name), settings, f"dataset {name}")
        _ = made._class
        return made

    @property
    def _class(self) -> Any:
        library, name = importlib.import_module("torchvision.datasets"), self.name.partition(":")[2]
        known = [one for one in library.__all__ if one not in BASES]
        if name not in known:
            raise UsageError(f"dataset {self.name}: torchvision has no such class; {did_you_mean(name, known)}")
        return getattr(library, name)

    @cached_property
    def counted(self) -> Counted:
        """The images of all parts."""
        takes = inspect.signature(self._class).parameters
        argument = next((one for one in PARTS if one in takes), "")
        fixed: dict[str, str | bool] = {"root": self.root or str(cache_root() / "torchvision")} if "root" in takes else {}
        fixed |= {"download": not self.root} if "download" in takes else {}
        if self.parts and not argument:
            raise UsageError(f"dataset {self.name}: it has no parts; leave parts={self.parts} out")
        opened: dict[str, Sized] = {}
        failed: Exception | None = None
        for part in [one.strip() for one in self.parts.split(",")] if self.parts else PARTS.get(argument, ("all",)):
            chosen = {argument: part == "train" if argument == "train" else part} if argument else {}
            try:
                opened[part] = self._class(**fixed, **chosen)
            except Exception as error:  # whatever torchvision and the network raise
                failed = failed or error
                if self.parts:
                    break
        if not opened or (self.parts and failed):
            where = f"root={self.root}" if self.root else "no root=FOLDER is named"
            reason = " ".join(str(failed).split())[:200]
            raise UserError(f"dataset {self.name}: torchvision does not open it ({where}): {reason}") from failed
        return counted_of(opened, f"dataset {self.name}")
