"""`bench data distances`: how far apart the classes of a split are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..parts.lines import say


def write(
    name: Annotated[str, typer.Argument(help="Dataset (bench data list).")],
    output: Annotated[Path, typer.Option(help="CSV file: class ids as header row and first column.")],
    split: Annotated[str, typer.Option(help="Class split: train, val or test.")] = "test",
    distances: Annotated[str | None, typer.Option(help="open_clip:ARCH/TAG instead of the taxonomy.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Parameter of the dataset, name=value.")] = None,
) -> None:
    """Write the distances between the classes of a split; needs the class list alone, not the images.

    Example: bench data distances mini-imagenet --split test --output distances.csv
    """
    from ....tasks.distances import write_matrix
    from ...evaluation.split_classes import class_distances, classes_of

    chosen = classes_of(name, set_ or [], split, with_images=False)
    write_matrix(output, chosen.class_ids, class_distances(chosen.dataset, split, chosen.class_ids, chosen.counts, distances))
    say(output)
