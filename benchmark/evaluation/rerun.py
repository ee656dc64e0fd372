"""A record repeated from its own contents, and compared with the record."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ...core.errors import UserError
from ...core.progress import Progress
from ..config import RunConfig
from ..records.identity import answerer_of, task_of
from ..records.record import RunRecord
from .replay import config_of
from .runner import run

Verdict = Literal["same", "rounding", "different"]
# Sums in another order, on another processor or with another library, turn an answer where two scores nearly tie.
ROUNDED = 0.01  # share of the episodes that may then have another accuracy
SHIFT = 2e-4  # by which the mean may then move, 0.02 points
OPENVINO = "openvino"


class Where(NamedTuple):
    """Where files are that a record names without their folders.

    Attributes:
        options: `weights`, `method`, `testbed`, `prompts` and `class_names`, as the user named them.
        checkpoints: the folder with weights files, looked through where no weights are named.
    """

    options: Mapping[str, str | Path]
    checkpoints: Path


@dataclass(frozen=True)
class Rerun:
    """A record and its repetition, over the episodes that were repeated.

    Attributes:
        record: as it was.
        again: as it came out now.
    """

    record: RunRecord
    again: RunRecord

    @property
    def episodes(self) -> int:
        """How many episodes were repeated."""
        return self.again.n_episodes

    @property
    def differences(self) -> np.ndarray:
        """float64 [episodes], the accuracy of now minus that of then."""
        return self.again.accuracies - self.record.accuracies[: self.episodes]

    @property
    def differing(self) -> int:
        """How many episodes have another accuracy."""
        return int(np.count_nonzero(self.differences))

    @property
    def shift(self) -> float:
        """The mean of now minus that of then, over the repeated episodes."""
        return float(self.differences.mean())

    @property
    def verdict(self) -> Verdict:
        """Whether every bit is the `same`, few episodes differ as by `rounding`, or the result is `different`."""
        if not self.differing:
            return "same"
        return "rounding" if self.differing <= max(1, ROUNDED * self.episodes) and abs(self.shift) <= SHIFT else "different"

    @property
    def surroundings(self) -> list[str]:
        """What of the surroundings differs, each in words such as `torch 2.14.1, now 2.15.0`."""
        then, now = self.record.environment, self.again.environment
        pairs = [(name, getattr(then, name), getattr(now, name)) for name in ("python", "device", "device_name", "threads")]
        before, after = then.packages, now.packages
        pairs += [(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
        pairs += [
            (name, getattr(self.record, name).code, getattr(self.again, name).code) for name in ("method", "backbone", "task")
        ]
        pairs += [("runtime", _runtime(self.record), _runtime(self.again))]
        return [
            f"{name.replace('_', ' ')} {before or 'unknown'}, now {after or 'none'}"
            for name, before, after in pairs
            if before != after
        ]


def rerun(record: RunRecord, where: Where, progress: Progress, episodes: int | None = None, device: str = "auto") -> Rerun:
    """Run again what a record says, without touching any results folder.

    Args:
        record: complete.
        where: its files.
        progress: told of long work.
        episodes: repeat only so many of the first ones; default: all.
        device: auto, cpu or cuda.

    Raises:
        UsageError: a file is not named, a name is unknown, or an option contradicts the record.
        UserError: the record is partial, or weights, plug-in or data are not there or are not those of the record.
    """
    if not record.complete:
        raise UserError(f"a partial record, of {record.n_episodes} episodes; finish its run first")
    runtime = "auto" if (_runtime(record) or "").startswith(OPENVINO) else "torch"  # auto takes torch where it must
    config = recorded_config(record, where)
    with tempfile.TemporaryDirectory(prefix="fewbench-rerun-") as folder:
        again = run(_as_recorded(config, record, Path(folder), episodes, device, runtime), progress).record
    different = task_of(record).differences(task_of(again))
    if different:
        raise UserError(f"its task is not there any more: {'; '.join(different)}")
    then, now = record.task.beside or {}, again.task.beside or {}
    if other := [name for name in then if now.get(name) != then[name]]:
        raise UserError(
            f"its images of the split {other[0]}, which its method uses, are not there any more (other fingerprint)"
        )
    if again.backbone.weights_sha256 != record.backbone.weights_sha256:
        raise UserError(
            f"weights {again.backbone.weights} are not those of the record (other SHA-256); name them with --weights"
        )
    if answerer_of(again) != answerer_of(record):
        raise UserError("its method, prompts, class names or checkpoint are not those of the record (other contents)")
    if again.n_episodes == record.n_episodes and again.task.episodes_sha256 != record.task.episodes_sha256:
        raise UserError("its episodes are no longer those of its task (episodes_sha256)")
    return Rerun(record, again)


def recorded_config(record: RunRecord, where: Where) -> RunConfig:
    """The config of a record, with its files.

    Raises:
        UsageError: a file is not named, or an option contradicts the record.
    """
    options = {name: value for name, value in where.options.items() if value is not None}
    weights = _weights_in(where.checkpoints, record)
    if weights is not None and "weights" not in options:
        options["weights"] = str(weights)
    return config_of(options, {}, record)


def _as_recorded(
    config: RunConfig, record: RunRecord, folder: Path, episodes: int | None, device: str, runtime: Literal["auto", "torch"]
) -> RunConfig:
    limit = None if episodes is None or episodes >= record.n_episodes else episodes
    return replace(config, results=folder, limit=limit, device=device, runtime=runtime, level=record.level)


def _weights_in(checkpoints: Path, record: RunRecord) -> Path | None:
    """The file of the results folder that has the name of the record's weights; None where there is none."""
    names: Sequence[str] = [f"{record.backbone.weights}.safetensors"] if record.backbone.weights else []
    return next((path for name in names if (path := checkpoints / name).is_file()), None)


def _runtime(record: RunRecord) -> str | None:
    """The library that encoded the images; None where nothing was encoded."""
    return None if record.timing.encoding is None else record.timing.encoding.runtime
