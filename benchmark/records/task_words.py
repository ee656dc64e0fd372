"""Tasks in words: what a task is called alone, on a board, and beside others from which it differs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

from ..config import RunConfig
from .identity import TaskKey, task_of
from .sections import Named

# The fields of a task that `task_label` tells.
TASK_TITLE = (
    "dataset", "corruption", "conditions", "split", "ways", "shots", "queries", "sampler", "sampler_parameters", "seed",
)  # fmt: skip
USUAL_TASK = {"queries": RunConfig.queries, "sampler": RunConfig.sampler, "seed": RunConfig.seed, "corruption": None}
FINGERPRINT_DIGITS = 12  # of any hash that people read


def task_title(task: TaskKey) -> str:
    """A task in words, without the dataset: `5-way 1-shot, 15 queries, uniform sampler, test split, seed 0`."""
    shape = " ".join(f"{n}-{word}" for n, word in ((task.ways, "way"), (task.shots, "shot")) if n is not None)
    queries = "" if task.queries is None else _queries(task)
    corruption = "" if task.corruption is None else f"corruption {task.corruption}"
    parts = (shape, queries, _sampler(task), f"{task.split} split", f"seed {task.seed}", corruption, task.conditions)
    return ", ".join(part for part in parts if part)


def task_label(record: Named) -> str:
    """The dataset and the task in words."""
    return f"{record.task.dataset}, {task_title(task_of(record))}"


def task_headers(tasks: Sequence[TaskKey]) -> list[str]:
    """Name the tasks of one board: ways and shots, and what departs from the usual task: `5-way 1-shot, 1 query`.

    Parameters of samplers are named where tasks read the same otherwise.
    """

    def header(task: TaskKey, words: Mapping[str, Callable[[TaskKey], str]]) -> str:
        ways, shots = words["ways"](task), words["shots"](task)
        shape = [f"{ways} {shots}"] if task.ways and task.shots else [ways, shots]
        return ", ".join([*shape, *(words[name](task) for name, usual in USUAL_TASK.items() if getattr(task, name) != usual)])

    headers = [header(task, TASK_WORDS) for task in tasks]
    parameters: dict[str, set[str]] = defaultdict(set)
    for task, text in zip(tasks, headers, strict=True):
        parameters[text].add(task.sampler_parameters)
    in_full = {**TASK_WORDS, "sampler": _sampler}
    return [header(task, in_full) if len(parameters[text]) > 1 else text for task, text in zip(tasks, headers, strict=True)]


def with_parameters(name: str, parameters: Mapping[str, Any]) -> str:
    """`name (a=1, b=cosine)`, or the name alone."""
    listing = ", ".join(f"{key}={plain(value)}" for key, value in sorted(parameters.items()))
    return f"{name} ({listing})" if listing else name


def plain(value: Any) -> str:
    """A value as labels say it: text without quotes, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def task_words(tasks: Sequence[TaskKey], told: Collection[str]) -> list[str]:
    """Say what differs among tasks, without the fields that are told elsewhere.

    Data are compared among tasks of one dataset, and parameters of samplers among those of one sampler.
    """
    scopes: dict[str, Callable[[TaskKey], Hashable]] = {
        **dict.fromkeys(("dataset_version", "dataset_parameters", "fingerprint"), lambda task: (task.dataset, task.split)),
        "sampler_parameters": lambda task: task.sampler,
    }
    words: list[list[str]] = [[] for _ in tasks]
    for field, word_of in TASK_WORDS.items():
        scope_of = scopes.get(field, lambda _: None)
        found: dict[Hashable, set[Any]] = defaultdict(set)
        for task in tasks:
            found[scope_of(task)].add(getattr(task, field))
        for mine, task in zip(words, tasks, strict=True):
            if field not in told and len(found[scope_of(task)]) > 1:
                mine.append(word_of(task))
    return [", ".join(mine) for mine in words]


def _queries(task: TaskKey) -> str:
    return "1 query" if task.queries == 1 else f"{'varying' if task.queries is None else task.queries} queries"


def _sampler(task: TaskKey) -> str:
    parameters = json.loads(task.sampler_parameters)
    return with_parameters(
        f"{task.sampler} sampler",
        {name: value[:FINGERPRINT_DIGITS] if name.endswith("_sha256") else value for name, value in parameters.items()},
    )


TASK_WORDS: dict[str, Callable[[TaskKey], str]] = {
    "dataset": lambda task: task.dataset,
    "dataset_version": lambda task: f"version {task.dataset_version}",
    "dataset_parameters": lambda task: with_parameters("dataset", json.loads(task.dataset_parameters)),
    "corruption": lambda task: f"corruption {task.corruption}" if task.corruption else "clean",
    "conditions": lambda task: task.conditions or "balanced queries, right labels",
    "fingerprint": lambda task: f"fingerprint {task.fingerprint[:FINGERPRINT_DIGITS]}",
    "split": lambda task: f"{task.split} split",
    "ways": lambda task: f"{task.ways}-way" if task.ways else "varying ways",
    "shots": lambda task: f"{task.shots}-shot" if task.shots else "varying shots",
    "queries": _queries,
    "sampler": lambda task: f"{task.sampler} sampler",
    "sampler_parameters": _sampler,
    "seed": lambda task: f"seed {task.seed}",
}
