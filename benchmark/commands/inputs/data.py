"""`bench data`: prepare datasets from a copy that the user has, and look after what was prepared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....core.errors import UsageError
from ....core.options import Settings
from ...built_in import YOURS
from ...config import FOLDER
from ...scopes import of_dataset, with_option
from ..parts.lines import say

if TYPE_CHECKING:
    from ....core.progress import Progress
    from ....tasks.datasets.base import Dataset

app = typer.Typer(help="Prepare datasets, and look after what was prepared.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Dataset (bench data list).")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Parameter of the dataset, name=value.")]
HEADERS = ("dataset", "parameters", "split", "classes", "images", "height×width×channels", "MB", "fingerprint")
RIGHT = (3, 4, 6)


@app.callback()
def data() -> None:
    """Prepare datasets, and look after what was prepared."""


@app.command("list")
def list_() -> None:
    """List every dataset with its prepared class splits: classes, images, size and fingerprint.

    Example: bench data list
    """
    from ....core.files import cache_root
    from ... import registry
    from ..parts.terminal import print_table

    rows = _prepared_rows(cache_root() / "datasets")
    there = {row[0] for row in rows}
    rows += [
        [name, "", "kept, prepared when used" if entry.origin == YOURS else "not prepared", "", "", "", "", ""]
        for name, entry in registry.entries("datasets").items()
        if name not in there
    ]
    print_table(HEADERS, sorted(rows, key=lambda row: row[:2]), right=RIGHT)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(metavar="DATASET|PHOTOS", help="Dataset (bench data list); with --name, photos.")],
    source: Annotated[Path | None, typer.Option("--from", help="A copy that you have; without it, download or render.")] = None,
    size: Annotated[int | None, typer.Option(help="Height and width in pixels, as --set size=N.")] = None,
    called: Annotated[
        str | None, typer.Option("--name", help="Keep a copy of your photos under this name, which then is a dataset's.")
    ] = None,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Prepare again what exists already.")] = False,
) -> None:
    """Prepare all class splits of a dataset in the cache. After an interruption the same command goes on.

    With --name, DATASET is a folder of your photos, an archive or a CSV file: bench data prepare photos --name groceries

    Example: bench data prepare mini-imagenet --from mini-imagenet.zip
    """
    from ..parts.terminal import TerminalProgress, print_table

    progress = TerminalProgress()
    if called is not None:
        if source is not None and name != FOLDER:
            raise UsageError(f"--name {called}: of {name}, or --from {source}? take one of them")
        settings = [*(set_ or []), *([] if size is None else [f"size={size}"])]
        say(_kept(called, name if source is None else str(source), settings, overwrite, progress))
        return
    dataset, source = _dataset(name, set_, source, {} if size is None else {"size": size})
    if source is not None and not overwrite and all(dataset.problem(split) is None for split in dataset.own_splits()):
        progress.say(f"{name} is prepared already; --overwrite prepares it again")
    dataset.prepare(source, progress=progress, again=overwrite)
    print_table(HEADERS, _prepared_rows(dataset.folder().parent, [dataset.folder()]), right=RIGHT)
    say(dataset.folder())


@app.command()
def verify(name: Name, set_: Set = None) -> None:
    """Hash the prepared images of a dataset and compare with what was written; exit code 1 where something is wrong.

    Example: bench data verify mini-imagenet
    """
    from ....core.errors import UserError
    from ....tasks.datasets import store
    from ..parts.terminal import print_table

    dataset, _ = _dataset(name, set_)
    problems = {split: dataset.problem(split, thorough=True) for split in dataset.own_splits()}
    print_table(("dataset", "split", "state"), [[name, split, problem or "sound"] for split, problem in problems.items()])
    if all(problem == store.ABSENT for problem in problems.values()):
        raise UserError(f"{name} is not prepared; bench data prepare {name} does that")
    wrong = [split for split, problem in problems.items() if problem not in (None, store.ABSENT)]
    if wrong:
        raise UserError(f"{name}: {', '.join(wrong)} must be prepared again (bench data prepare {name})")


@app.command()
def path(name: Name, set_: Set = None) -> None:
    """Print the folder of a prepared dataset.

    Example: bench data path mini-imagenet
    """
    from ....core.errors import UserError

    dataset, _ = _dataset(name, set_)
    if not any((dataset.folder() / split).is_dir() for split in dataset.own_splits()):
        raise UserError(f"{name} is not prepared; bench data prepare {name} does that")
    say(dataset.folder())


def _kept(name: str, photos: str, settings: list[str], overwrite: bool, progress: Progress) -> Path:
    """Copy photos into the cache under a name, and return the copy's folder."""
    from ....tasks.datasets.folder import Folder
    from ....tasks.datasets.named import keep
    from ... import registry

    entry = registry.entries("datasets").get(name)
    if entry is not None and entry.origin != YOURS:
        raise UsageError(f"--name {name}: a dataset of {entry.origin} is called so; take another name")
    if entry is not None and not overwrite:
        raise UsageError(f"--name {name}: there are photos of this name; --overwrite replaces them")
    folder = registry.make("datasets", FOLDER, with_option(_parameters(settings), "root", photos, f"--name {name} of"))
    assert isinstance(folder, Folder)
    made = keep(name, folder, progress)
    progress.say(f"{name}: {made.layout}")
    return made.copied


def _dataset(
    name: str, set_: Iterable[str] | None, source: Path | None = None, options: Settings | None = None
) -> tuple[Dataset, Path | None]:
    """A dataset with its parameters, and the source, or None where the source became a parameter."""
    from ... import registry

    cls = registry.load(registry.find("datasets", name))
    settings = _parameters(set_)
    for parameter, value in (options or {}).items():
        settings = with_option(settings, parameter, value, f"--{parameter}")
    if source is not None and cls.source_parameter is not None:
        settings, source = with_option(settings, cls.source_parameter, str(source), "--from"), None
    return registry.make("datasets", name, settings), source


def _parameters(set_: Iterable[str] | None) -> Settings:
    return of_dataset(set_ or [])


def _prepared_rows(root: Path, folders: Iterable[Path] | None = None) -> list[list[str]]:
    """A table row for each class split below `root` that is prepared or was begun."""
    from ....tasks.datasets.split import SPLITS

    if folders is None:
        folders = sorted(root.iterdir()) if root.is_dir() else []
    return [row for folder in folders for split in SPLITS for row in _split_rows(folder, split)]


def _split_rows(folder: Path, split: str) -> list[list[str]]:
    from ....core.cache import Damaged
    from ....tasks.datasets import store
    from ... import registry

    unfinished = store.entry(folder / split).unfinished.is_dir()
    try:
        found, problem = store.prepared(folder / split), store.ABSENT
    except Damaged as error:
        found, problem = None, str(error)
    if found is None:
        state = "interrupted" if unfinished else problem
        name = next((name for name in registry.entries("datasets") if folder.name.startswith(f"{name}-")), folder.name)
        return [[name, "", f"{split}: {state}", "", "", "", "", ""]] if unfinished or problem != store.ABSENT else []
    about = found.about
    parameters = " ".join(f"{key}={value}" for key, value in about.origin.parameters.items())
    count, *shape = about.shape
    return [
        [
            about.origin.dataset,
            parameters,
            split,
            str(len(about.class_ids)),
            str(count),
            "×".join(map(str, shape)),
            f"{found.files[store.IMAGES].size / 1e6:.0f}",
            about.fingerprint[:12],
        ]
    ]
