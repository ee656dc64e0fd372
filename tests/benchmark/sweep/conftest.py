"""A cluster that does each task at once in this process, and records without what differs from run to run."""

from __future__ import annotations

import json
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fewbench.benchmark.sweep import worker
from fewbench.benchmark.sweep.worker import Answer
from fewbench.core.errors import UserError

OF_THE_MACHINE = {"timing", "environment", "fewbench", "argv"}


class Here:
    """Does what `Cluster` does, in this process; what is sent is pickled, as on the way to another one.

    Attributes:
        done: number of tasks of each function.
        cache: the cache folder of the tasks; None for this process's.
        counted: numbers of images that tasks said to have encoded.
        hidden: files that tasks do not see, and plug-ins that they have not imported.
        before: called with the name of the function before each task.
    """

    def __init__(self, slots: int = 2, cache: Path | None = None) -> None:
        self.slots, self.gpu, self.cache = slots, False, cache
        self.hidden: list[Path] = []
        self.counted: list[int] = []
        self.done: Counter[str] = Counter()
        self.before: Callable[[str], None] = lambda name: None
        self.answers: dict[Any, Answer] = {}
        self.cancelled: list[Any] = []

    def put(self, value: object) -> bytes:
        return pickle.dumps(value)

    def submit(self, function, sent, needs, parcels, arguments) -> object:
        self.done[function.__name__] += 1
        reference = object()
        with pytest.MonkeyPatch.context() as patched:
            if self.cache is not None:
                patched.setenv("FEWBENCH_CACHE", str(self.cache))
            fetching = {entry: (lambda sent=parcel: pickle.loads(sent)) for entry, parcel in parcels.items()}
            job = (str(hash(sent.job)), lambda: pickle.loads(sent.job), lambda: pickle.loads(sent.network))
            try:
                self.before(function.__name__)
                with self.apart(patched):
                    self.answers[reference] = worker.work(
                        function, sent.plugins, fetching, needs, job, arguments, self.counted.append
                    )
            except UserError as error:
                self.answers[reference] = Answer(error=error)
        return reference

    @contextmanager
    def apart(self, patched: pytest.MonkeyPatch) -> Iterator[None]:
        """A machine without the hidden files."""
        away = {path: path.with_name(f"{path.name}.away") for path in self.hidden}
        for path, elsewhere in away.items():
            path.rename(elsewhere)
            for module in [name for name in sys.modules if name.startswith(f"fewbench_plugin_{path.stem}_")]:
                patched.delitem(sys.modules, module)
        try:
            yield
        finally:
            for path, elsewhere in away.items():
                elsewhere.rename(path)

    def draw(self, sent, pickled, points) -> Iterator[tuple[int, str]]:
        self.done["digests"] += 1
        return worker.digests(sent.plugins, pickled, points)

    def wait(self, references: list[Any]) -> list[Any]:
        return references[::-1]  # the last first: parts of a run come out of order

    def answer(self, reference: object) -> Answer:
        return self.answers.pop(reference)

    def drawn(self, reference: Iterator[tuple[int, str]]) -> tuple[int, str] | None:
        return next(reference, None)

    def encoded(self, references: list[Any]) -> dict[Any, int]:
        return {reference: number for number, reference in enumerate(references)}

    def cancel(self, references: list[Any]) -> None:
        self.cancelled.extend(references)


@pytest.fixture
def here() -> Iterator[type[Here]]:
    yield Here
    worker.forget()


@pytest.fixture
def content() -> Callable[[Path], dict[str, Any]]:
    """A function that reads every record of a results folder, by its place, without time, machine and command line."""

    def read(results: Path) -> dict[str, Any]:
        found = {}
        for path in sorted((results / "records").rglob("*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            found[path.relative_to(results).as_posix()] = {key: record[key] for key in record.keys() - OF_THE_MACHINE}
        return found

    return read
