"""The evaluations of pipelines: one after the other, or at once on Ray, until the time is out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...core.errors import Interrupted, UserError
from ...core.progress import Advance, Progress
from ..config import RunConfig
from ..evaluation.choose import UNIT as CHOICES
from ..evaluation.runner import Outcome, run
from ..sweep.engine import Engine

AGAIN = "the same command goes on from there"


class Clock:
    """The time limit of a command."""

    def __init__(self, seconds: float | None) -> None:
        """Start it; None: there is no limit."""
        self.end = None if seconds is None else time.monotonic() + seconds

    def left(self, at_least: float = 0.0) -> float | None:
        """Seconds; None: any."""
        return None if self.end is None else max(at_least, self.end - time.monotonic())


def evaluate(runs: Sequence[tuple[str, RunConfig]], engine: Engine, progress: Progress, clock: Clock) -> list[Outcome]:
    """Evaluate runs, each of which has a name, in their order or all at once.

    Raises:
        UserError: the time ran out, what was evaluated is kept; or one of them failed.
    """
    timed = _Timed(progress, clock.end)
    try:
        return _on_ray(runs, engine, timed) if engine.engine == "ray" else [_one(*named, timed) for named in runs]
    except (KeyboardInterrupt, Interrupted) as error:
        if not timed.stopped:
            raise
        raise UserError(f"stopped by --time-limit; {str(error) or AGAIN}") from None


def _one(name: str, config: RunConfig, progress: Progress) -> Outcome:
    progress.say(f"run: {name}")
    outcome = run(config, progress)
    if outcome.reused:
        progress.say(f"run: done already, {outcome.path}")
    return outcome


def _on_ray(runs: Sequence[tuple[str, RunConfig]], engine: Engine, progress: Progress) -> list[Outcome]:
    from ..sweep.driver import sweep

    if not runs:
        return []
    names = [name for name, _ in runs] if len(runs) > 1 else []
    outcomes, error = sweep([config for _, config in runs], names, engine, progress)
    if error is not None:
        raise error
    return outcomes


class _Timed:
    """A progress that ends a run as Ctrl-C does, once time is out: where work is reported, what was done before is kept."""

    def __init__(self, inner: Progress, end: float | None) -> None:
        self.inner, self.end, self.verbose, self.stopped = inner, end, inner.verbose, False

    def say(self, message: str) -> None:
        """Pass it on."""
        self.inner.say(message)

    @contextmanager
    def track(self, description: str, total: int, unit: str = "") -> Iterator[Advance]:
        """Pass it on, and look at the time with each advance."""
        with self.inner.track(description, total, unit) as advance:

            def timed(steps: int) -> None:
                advance(steps)
                if unit != CHOICES and steps and self.end is not None and time.monotonic() >= self.end:
                    self.stopped = True
                    raise KeyboardInterrupt

            yield timed
