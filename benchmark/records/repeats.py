"""Runs that were repeated: with another interval or level, a run gives a second record of the same accuracies."""

from __future__ import annotations

from collections.abc import Iterable

from .record import RunRecord, TaskKey, canonical_json


def without_repeats(records: Iterable[RunRecord]) -> list[RunRecord]:
    """One record of each run: the first by the hash of its configuration."""
    first: dict[tuple[TaskKey, str, bytes], RunRecord] = {}
    for record in sorted(records, key=lambda record: record.config_sha256):
        method = [*(record.method[name] for name in ("name", "parameters")), record.method.get("text")]
        backbone = [record.backbone[name] for name in ("name", "parameters", "weights", "weights_sha256", "tune")]
        run = (record.task_key(), canonical_json([method, backbone]), record.accuracies.tobytes())
        first.setdefault(run, record)
    return list(first.values())
