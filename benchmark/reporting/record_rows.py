"""Everything about a run, as names with values: for `bench show RECORD` and for its page of the site."""

from __future__ import annotations

from ..records.record import RunRecord
from ..records.statistics import apart_in_percent, in_percent
from ..records.task_words import with_parameters
from .coarsity import quartiles
from .setting import setting_of


def rows_of(record: RunRecord) -> list[list[str]]:
    """The rows of a table of two columns."""
    return [*_of_run(record), *_of_result(record), *_of_making(record)]


def _of_run(record: RunRecord) -> list[list[str]]:
    task, pretraining = record.task, record.backbone.pretraining
    external = ", external" if pretraining and pretraining.external else ""
    version = with_parameters(f"version {task.dataset_version}", task.dataset_parameters)
    return [
        ["status", record.status],
        ["method", f"{record.method.name} {record.method.parameters or ''}"],
        ["setting", setting_of(record).name],
        ["backbone", f"{record.backbone.name}, weights {record.backbone.weights}"],
        ["pretraining", f"{pretraining.recipe} on {pretraining.dataset}{external}" if pretraining else "none"],
        [
            "task",
            f"{task.dataset} {task.split}, {task.ways}-way {task.shots}-shot, {task.queries} queries a class",
        ],
        ["sampler", f"{task.sampler}, seed {task.seed}"],
        ["images", f"{version}, fingerprint {task.fingerprint}"],
        *_of_coarsity(record),
        *([["corruption", str(task.corruption)]] if task.corruption else []),
        *([["conditions", str(task.conditions)]] if task.conditions else []),
    ]


def _of_coarsity(record: RunRecord) -> list[list[str]]:
    coarsity = record.task.coarsity
    if coarsity is None:
        return []
    limits = ", ".join(f"{value:.2f}" for value in coarsity.quartiles)
    accuracies = [
        "none" if one is None else in_percent(one.accuracy.mean, one.accuracy.half_width, one.accuracy.n)
        for one in quartiles(record)
    ]
    return [
        ["coarsity", f"mean {coarsity.mean:.2f}, quartiles {limits}"],
        ["accuracy % by quartile", f"{', '.join(accuracies)} (the most fine-grained tasks first)"],
    ]


def _of_result(record: RunRecord) -> list[list[str]]:
    accuracy = record.accuracy
    apart, bootstrap = accuracy.without_replacement, accuracy.bootstrap
    interval = f"{in_percent(record.mean, record.half_width, record.n_episodes)} ({100 * accuracy.level:g} % t interval)"
    rows = [["episodes", str(record.n_episodes)], ["accuracy %", interval]]
    if bootstrap:
        ends = ("-" if end is None else f"{100 * end:.2f}" for end in (bootstrap.low, bootstrap.high))
        rows.append(["bootstrap %", " to ".join(ends)])
    if apart:
        figure = apart_in_percent(apart.mean, apart.half_width, apart.episodes, record.n_episodes)
        rows.append(["without replacement %", figure])
    if record.predictions:
        rows.append(["answers", f"{record.predictions.answers:,} kept beside the record"])
    return rows


def _of_making(record: RunRecord) -> list[list[str]]:
    timing, machine, commit = record.timing, record.environment, record.fewbench.git_commit or "unknown"
    versions = {"python": machine.python, **machine.packages}
    return [
        ["seconds", f"{timing.total_seconds} (encoding {timing.encode_seconds}, classifying {timing.classify_seconds})"],
        ["made", f"{timing.started_utc} by fewbench {record.fewbench.version}, commit {commit}"],
        ["device", f"{machine.device_name or machine.device}, {machine.system}"],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)],
        ["command", " ".join(record.argv)],
        ["episodes sha256", record.task.episodes_sha256],
        ["weights sha256", record.backbone.weights_sha256 or "none"],
        ["config sha256", record.config_sha256],
    ]
