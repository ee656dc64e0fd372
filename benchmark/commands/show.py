"""`bench show`: describe a method, dataset, backbone, sampler, record or weights file."""

from __future__ import annotations

import inspect
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import UsageError, did_you_mean
from ...core.options import parameters_of, parse_assignments
from ..config import RESULTS
from .parts.folders import Results, in_results
from .parts.lines import say

if TYPE_CHECKING:
    from ..records.record import RunRecord

KINDS = {"method": "methods", "dataset": "datasets", "backbone": "backbones", "sampler": "samplers"}
FILES = (".json", ".safetensors")


def show(
    names: Annotated[list[str], typer.Argument(metavar="[KIND] NAME", help="A name, or the path of a record or of weights.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Parameter of the backbone, name=value.")] = None,
    results: Results = RESULTS,
) -> None:
    """Describe a method, dataset, backbone or sampler with its citation and parameters, or summarise a record or weights.

    Example: bench show backbone conv4 --set width=32
    """
    *kinds, name = names
    if len(kinds) > 1 or (kinds and kinds[0] not in KINDS):
        raise UsageError(f"bench show takes [{' | '.join(KINDS)}] NAME, not '{' '.join(names)}'")
    settings = parse_assignments(set_ or [])
    if settings and name.endswith(FILES):
        raise UsageError("--set is for bench show backbone NAME; a file has its settings")
    if name.endswith(".safetensors"):
        _show_weights(in_results(Path(name), results, "checkpoints"))
    elif name.endswith(".json"):
        _show_record(in_results(Path(name), results, "records"))
    else:
        _show_entry(name, [KINDS[kind] for kind in kinds] or list(KINDS.values()), settings)


def _show_entry(name: str, kinds: list[str], settings: dict[str, str]) -> None:
    from .. import registry
    from .parts.described import described
    from .parts.terminal import print_table

    is_file = ".py:" in name
    found = [kind for kind in kinds if is_file or registry.knows(kind, name)]
    if not found:
        known = [known for kind in kinds for known in registry.entries(kind)]
        raise UsageError(f"nothing is called '{name}'; {did_you_mean(name, known)} (bench list, or FILE.py:Class)")
    entry = registry.find(found[0], name)
    as_declared = entry.kind == "methods" and entry.origin == "fewbench"  # shown without torch, and at once
    cls = described(entry.target) if as_declared else registry.load(entry)
    if settings and entry.kind != "backbones":
        raise UsageError(f"--set is for bench show backbone NAME; {entry.name} is a {entry.singular}")
    parameters = [p for p in parameters_of(cls) if entry.kind != "samplers" or p.default is not MISSING]
    own = {parameter.name for parameter in parameters}
    network = _network(name, own, settings) if entry.kind == "backbones" else None  # before anything is printed: it may fail
    say(f"{entry.singular} {entry.name} (from {entry.origin})")
    say("")
    typer.echo(inspect.getdoc(cls) or "")
    for label in ("citation", "licence", "homepage", "version", "inputs", "transductive"):
        value = getattr(cls, label, "")
        if value != "":
            say(f"{label}: {value}")
    if network is not None:
        lines, unfrozen = network
        typer.echo("\n".join(lines) + "\n")
        print_table(("--tune", "parameters of the backbone that it unfreezes"), unfrozen)
    rows = [[p.name, p.type_name, str(p.range or ""), str(p.default), p.help] for p in parameters]
    say("")
    if rows:
        print_table(("parameter", "type", "range", "default", "meaning"), rows)
    else:
        say(getattr(cls, "open_parameters", "") or "no parameters")


def _network(name: str, own: set[str], settings: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    """Lines on a backbone's size, cost and input, and a table of the parameters that each scope of `--tune` unfreezes.

    Args:
        name: name of the backbone.
        own: names of its parameters.
        settings: values of some of these, or `size`, `channels`, `mean` and `std` of the images.
    """
    from torch import Generator

    from ..backbones import image_settings
    from ..backbones.base import feature_width
    from ..backbones.tuning import counts
    from ..backbones.weights.loading import make_backbone
    from ..features.throughput import flops_per_image

    of_images, of_network = image_settings.apart(settings, own)
    backbone = make_backbone(name, of_network)
    preprocess, _ = image_settings.changed_by(backbone.preprocess(), of_images, f"backbone {name}")
    module = backbone.build(preprocess.channels, preprocess.size, Generator().manual_seed(0)).eval()
    width, size = feature_width(module, preprocess), preprocess.size
    count = sum(parameter.numel() for parameter in module.parameters())
    statistics = "; ".join(
        f"{label} {', '.join(f'{value:g}' for value in values)}"
        for label, values in (("mean", preprocess.mean), ("std", preprocess.std))
    )
    flops = f"{flops_per_image(module, preprocess):,} (a multiplication with its addition counts as two)"
    lines = [
        *(["set: " + ", ".join(f"{label}={value}" for label, value in settings.items())] if settings else []),
        f"network parameters: {count:,}",
        f"features: {width} of an image of {size}×{size} pixels",
        f"FLOPs of such an image: {flops}",
        f"images without a description of the weights: {preprocess.channels} channels; {statistics}",
    ]
    unfrozen = [[scope, "-" if number is None else f"{number:,}"] for scope, number in counts(module, backbone).items()]
    return lines, unfrozen


def _show_record(path: Path) -> None:
    from ..records.statistics import apart_in_percent, in_percent
    from ..records.store import load_record
    from ..records.task_words import with_parameters
    from ..reporting.setting import setting_of
    from .parts.terminal import percent, print_table

    record = load_record(path)
    task, accuracy, timing = record.task, record.accuracy, record.timing
    apart, bootstrap = accuracy.without_replacement, accuracy.bootstrap
    pretraining, commit = record.backbone.pretraining, record.fewbench.git_commit or "unknown"
    external = ", external" if pretraining and pretraining.external else ""
    version = with_parameters(f"version {task.dataset_version}", task.dataset_parameters)
    rows = [
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
        *_coarsity_rows(record),
        *([["corruption", str(task.corruption)]] if task.corruption else []),
        ["episodes", str(record.n_episodes)],
        [
            "accuracy %",
            f"{in_percent(record.mean, record.half_width, record.n_episodes)} ({100 * accuracy.level:g} % t interval)",
        ],
    ]
    if bootstrap:
        rows.append(["bootstrap %", f"{percent(bootstrap.low)} to {percent(bootstrap.high)}"])
    if apart:
        figure = apart_in_percent(apart.mean, apart.half_width, apart.episodes, record.n_episodes)
        rows.append(["without replacement %", figure])
    rows += [
        [
            "seconds",
            f"{timing.total_seconds} (encoding {timing.encode_seconds}, classifying {timing.classify_seconds})",
        ],
        ["made", f"{timing.started_utc} by fewbench {record.fewbench.version}, commit {commit}"],
        ["command", " ".join(record.argv)],
        ["episodes sha256", task.episodes_sha256],
        ["weights sha256", record.backbone.weights_sha256 or "none"],
        ["config sha256", record.config_sha256],
    ]
    print_table(("", ""), rows)


def _show_weights(path: Path) -> None:
    from ..backbones.weights.checkpoint import read_checkpoint
    from .parts.terminal import percent, print_table

    checkpoint = read_checkpoint(path)
    about = checkpoint.description
    rows = [["tensors", f"{len(checkpoint.tensors)}"], ["sha256", checkpoint.sha256]]
    if about is None:
        rows.append(["description", "none: this file was not made by fewbench; name its network with --backbone"])
    else:
        accuracy, history = about.val_accuracy, about.pretraining
        images = f"{about.preprocess.channels} channels of {about.preprocess.size}×{about.preprocess.size} pixels"
        rows += [
            ["backbone", f"{about.backbone} {about.backbone_parameters or ''}"],
            ["images", images],
            ["pretraining", f"{history.recipe} on {history.dataset}"],
        ]
        if (method := about.method) is not None:
            shape = f"{method.ways or 'varying'} ways, {method.shots or 'varying or unknown'} shots"
            rows.append(["meta-trained with", f"{method.name} {method.parameters or ''}, {shape}"])
        if accuracy.mean is not None:
            rows.append(["val accuracy %", percent(accuracy.mean)])
        if about.made_by.command is not None:
            rows.append(["made by", about.made_by.command])
    print_table(("", ""), rows)


def _coarsity_rows(record: RunRecord) -> list[list[str]]:
    from ..records.statistics import in_percent
    from ..reporting.coarsity import quartiles

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
