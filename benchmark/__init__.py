"""The engine: runs methods on tasks, keeps records, makes the leaderboard.

from fewbench.benchmark import RunConfig, run
record = run(RunConfig(method="protonet", shots=1))
print(record.mean, record.half_width)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.heap import keep_heap
from ..core.progress import SILENT, Progress
from .config import RunConfig

if TYPE_CHECKING:
    from .records.record import RunRecord

__all__ = ["RunConfig", "run"]


def run(config: RunConfig, progress: Progress = SILENT) -> RunRecord:
    """Evaluate one method on one task and write its record; a finished run is read instead of repeated.

    Args:
        config: what to run.
        progress: told of long work; silent by default.

    Returns:
        The record, complete (or partial, with `limit`).

    Raises:
        UserError: anything the caller can mend, in one line.
    """
    keep_heap()
    from .evaluation.runner import run as run_now  # torch is imported only when something runs

    return run_now(config, progress).record
