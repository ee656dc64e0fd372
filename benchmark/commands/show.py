"""`bench show`: describe a method, dataset, backbone, sampler, record or weights file."""

from __future__ import annotations

import inspect
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import UsageError, did_you_mean
from ...core.options import parameters_of, parse_assignments
from ..config import RESULTS
from .parts.folders import Results, in_results
from .parts.lines import say

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
    from .parts.terminal import print_table

    is_file = ".py:" in name
    found = [kind for kind in kinds if is_file or registry.knows(kind, name)]
    if not found:
        known = [known for kind in kinds for known in registry.entries(kind)]
        raise UsageError(f"nothing is called '{name}'; {did_you_mean(name, known)} (bench list, or FILE.py:Class)")
    entry = registry.find(found[0], name)
    cls = registry.declared(entry)
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
    from ..records.store import load_record
    from ..reporting.record_rows import rows_of
    from .parts.terminal import print_table

    print_table(("", ""), rows_of(load_record(path)))


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
