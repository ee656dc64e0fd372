"""The options of commands that evaluate many runs: one after the other, or at once on Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...core.errors import UsageError
from ...core.options import Options, parameter


@dataclass(frozen=True)
class Engine(Options):
    """Where runs are carried out; what they find does not depend on it."""

    engine: Literal["local", "ray"] = parameter("local", "local: one run after the other; ray: many at once (extra ray).")
    address: str | None = parameter(None, "Ray cluster: auto, or HOST:PORT of its head; default: one here, for this command.")
    workers: int | None = parameter(None, "Most tasks of Ray at once; default: one for each core of the cluster.", minimum=1)

    def __post_init__(self) -> None:
        """Check every field, and that those of Ray go with Ray.

        Raises:
            UsageError: one line that names the option.
        """
        super().__post_init__()
        for name, value in (("address", self.address), ("workers", self.workers)):
            if value is not None and self.engine != "ray":
                raise UsageError(f"--{name} {value}: it is of --engine ray; add that")
