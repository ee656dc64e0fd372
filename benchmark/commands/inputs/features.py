"""`bench features`: features that go to another machine or come from one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....core.options import Settings
from ..parts.lines import say

if TYPE_CHECKING:
    from ....tasks.datasets.base import Dataset
    from ...features.imported import Imported

app = typer.Typer(
    help="Export features, import those of a backbone that ran elsewhere, and list what was imported.", no_args_is_help=True
)

DatasetName = Annotated[str, typer.Option(help="Dataset (bench list datasets).")]
SplitName = Annotated[str, typer.Option(help="Class split: train, val or test.")]
Name = Annotated[str, typer.Option(help="Name of the features: --backbone imported:NAME.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Parameter of the dataset, dataset.name=value.")]
HEADERS = ("name", "dataset", "split", "images", "width", "type", "made by", "prompts", "sha256")
RIGHT = (3, 4)


@app.callback()
def features() -> None:
    """Export features, import those of a backbone that ran elsewhere, and list what was imported."""


@app.command()
def template(
    dataset: DatasetName,
    output: Annotated[Path, typer.Option(help="CSV file to write.")],
    split: SplitName = "test",
    set_: Set = None,
) -> None:
    """List the images of a split, for whoever encodes them elsewhere: row, class_id, class_name, source and fingerprint.

    Example: bench features template --dataset mini-imagenet --split test --output test.csv
    """
    from ....core.files import write_atomically
    from ....tasks.datasets.split import split_name
    from ....tasks.datasets.store import sources_of
    from ...features.export import template as template_of
    from ..parts.terminal import TerminalProgress

    made = _dataset(dataset, _settings(set_, ("dataset",), dataset))
    opened = made.split(split_name(split), TerminalProgress())
    write_atomically(output, template_of(opened, sources_of(made.folder() / opened.name)).encode())
    say(output)


@app.command()
def export(
    dataset: DatasetName,
    output: Annotated[Path, typer.Option(help="File to write: .npz, .safetensors or .parquet.")],
    split: SplitName = "test",
    backbone: Annotated[str, typer.Option(help="Backbone (bench list backbones).")] = "conv4",
    weights: Annotated[str | None, typer.Option(help="Shipped weights or a file, as for bench run.")] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(help="Export the text features of the classes too: single, ensemble or a file, also several."),
    ] = None,
    class_names: Annotated[Path | None, typer.Option(help="CSV with class_id,name instead of the dataset's names.")] = None,
    precision: Annotated[str, typer.Option(help="Precision of encoding: fp32, tf32, bf16 or fp16.")] = "fp32",
    compile: Annotated[bool, typer.Option("--compile", help="Encode through torch.compile.")] = False,
    runtime: Annotated[str, typer.Option(help="Library that encodes: auto, torch or openvino (extra cpu).")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Images encoded at once.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Parameter, dataset.name=value or backbone.name=value.")
    ] = None,
) -> None:
    """Encode a split and write its features to a file, with the fingerprint of the images and what made the features.

    Example: bench features export --dataset mini-imagenet --backbone open_clip:ViT-B-32/openai --output test.safetensors
    """
    from ....tasks.datasets.split import split_name
    from ...backbones.weights.find import find_weights
    from ...backbones.weights.loading import load_backbone
    from ...device import choose_device
    from ...features.encode import Encoding, Precision
    from ...features.exchange import check_suffix
    from ...features.export import export_features, texts_for
    from ...features.runtime import Runtime
    from ..parts.terminal import TerminalProgress

    check_suffix(output)
    progress, chosen, settings = TerminalProgress(), choose_device(device), _settings(set_, ("dataset", "backbone"), dataset)
    made, name = _dataset(dataset, settings), split_name(split)
    given: Precision = precision  # type: ignore[assignment]  # checked by Encoding
    library: Runtime = runtime  # type: ignore[assignment]  # as well
    encoding = Encoding(batch_size, given, compile, library)
    encoding.check(chosen)
    several = None if prompts is None else [one for text in prompts for one in text.split(",")]
    texts = texts_for(made, name, backbone, several, class_names, output, progress)
    loaded = load_backbone(backbone, settings["backbone"], find_weights(backbone, weights, dataset), progress)
    opened = made.split(name, progress)
    count, width = export_features(output, made, opened, loaded, encoding, chosen, progress, *texts)
    progress.say(f"{count} features of {width} numbers, {made.name} {name}, by {loaded.name}")
    say(output)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File of features: .npz, .safetensors or .parquet.")],
    dataset: DatasetName,
    name: Name,
    split: Annotated[str | None, typer.Option(help="Class split, where the file does not say it.")] = None,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other features of that name and split.")] = False,
) -> None:
    """Import the features of a split, checked against its images; methods then run on --backbone imported:NAME.

    Example: bench features import test.npz --dataset mini-imagenet --split test --name my-clip
    """
    from ...features.importing import import_features
    from ..parts.terminal import TerminalProgress, print_table

    made = _dataset(dataset, _settings(set_, ("dataset",), dataset))
    imported = import_features(file, name, made, split, TerminalProgress(), overwrite)
    print_table(HEADERS, [_row(name, imported.about)], right=RIGHT)
    say(imported.folder)


@app.command("list")
def list_() -> None:
    """List what was imported: the splits of each name, what made the features, and the prompts of their text features.

    Example: bench features list
    """
    from ...features.imported import names, splits_of
    from ..parts.terminal import print_table

    rows = [_row(name, imported.about) for name in names() for imported in splits_of(name)]
    print_table(HEADERS, rows, right=RIGHT)


def _row(name: str, about: Imported) -> list[str]:
    count, width = about.shape
    made_by = about.maker.name or "unknown"
    sets = [f"{text.templates[0]} ({len(text.templates)})" for text in about.texts]
    return [name, about.dataset, about.split, str(count), str(width), about.dtype, made_by, "; ".join(sets), about.sha256[:12]]


def _settings(set_: list[str] | None, scopes: tuple[str, ...], dataset: str) -> Mapping[str, Settings]:
    """The parameters of each scope.

    Raises:
        UsageError: a parameter has another scope or none.
    """
    from ....core.errors import UsageError
    from ....core.options import parse_assignments
    from ...scopes import with_scopes

    settings: dict[str, dict[str, object]] = {scope: {} for scope in scopes}
    for key, value in with_scopes(parse_assignments(set_ or []), dataset).items():
        scope, _, name = key.partition(".")
        if scope not in settings or not name:
            raise UsageError(f"--set {key}: this takes {' and '.join(f'{scope}.name' for scope in scopes)} alone")
        settings[scope][name] = value
    return settings


def _dataset(name: str, settings: Mapping[str, Settings]) -> Dataset:
    from ... import registry

    return registry.make("datasets", name, settings["dataset"])
