"""`bench list`: registered names, shipped weights, records and published numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import UsageError, did_you_mean
from ...core.options import Settings
from ..config import RESULTS
from ..published.choice import Choice
from .parts.declared import takes
from .parts.folders import Results
from .parts.lines import say

KINDS = ("methods", "datasets", "backbones", "samplers", "weights", "results", "published")


@takes(Choice)
def list_(
    published: Settings,
    what: Annotated[str, typer.Argument(help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}; without it, these kinds.")] = "",
    results: Results = RESULTS,
) -> None:
    """List methods, datasets, backbones, samplers, shipped weights, results or published numbers.

    The options from --dataset to --kind choose among published numbers.

    Example: bench list published --dataset mini-imagenet --shots 1 --method protonet
    """
    if published and what != "published":
        raise UsageError(f"--{next(iter(published))} goes with bench list published")
    if not what:
        for one in KINDS:
            say(f"bench list {one}")
    elif what not in KINDS:
        raise UsageError(f"cannot list '{what}'; {did_you_mean(what, KINDS)}")
    elif what == "results":
        _list_results(results)
    elif what == "published":
        from .results.published import list_published

        list_published(results, published)
    elif what == "weights":
        _list_weights()
    else:
        _list_entries(what)


def _list_entries(kind: str) -> None:
    from .. import registry
    from .parts.terminal import print_table

    rows = [[entry.name, entry.origin, registry.summary(entry)] for entry in registry.entries(kind).values()]
    print_table(("name", "from", "what it is"), rows)


def _list_weights() -> None:
    from ..backbones.weights.checkpoint import read_description
    from ..backbones.weights.find import shipped_weights
    from .parts.terminal import print_table

    rows = []
    for name, path in shipped_weights().items():
        about = read_description(path)
        assert about is not None  # all that is shipped is described
        rows.append([name, about.backbone, about.pretraining.dataset, about.pretraining.recipe])
    print_table(("name", "backbone", "trained on", "by"), rows)


def _list_results(results: Path) -> None:
    from ..records.labels import labels_of
    from ..records.statistics import in_percent
    from ..records.store import load_records
    from .parts.terminal import print_table

    records, problems = load_records(results / "records")
    rows = []
    labels = labels_of([one for _, one in records], told=("dataset",), beside=[one.task.dataset for _, one in records])
    for (path, record), label in zip(records, labels, strict=True):
        accuracy = in_percent(record.mean, record.half_width, record.n_episodes)
        names = [label.method, label.backbone, record.task.dataset, label.task]
        rows.append([*names, accuracy, str(record.n_episodes), record.status, str(path)])
    headers = ("method", "backbone", "dataset", "task", "accuracy %", "episodes", "status", "record")
    print_table(headers, rows, right=(4, 5))
    for _, problem in problems:
        say(f"warning: {problem}", err=True)
