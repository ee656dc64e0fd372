"""Which photos a command means: a path, or the name of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ....core.options import Settings

Photos = Annotated[
    str,
    typer.Argument(help="Folder with a folder a class, an archive of these, a CSV file, or a dataset (bench list datasets)."),
]
MinImages = Annotated[int | None, typer.Option(help="Leave out classes with fewer photos.", min=1)]


def options_of(photos: str, min_images: int | None) -> Settings:
    """The options of `RunConfig` for photos. What is there as a path is one; else a registered name is meant."""
    from ... import registry

    named = not Path(photos).exists() and registry.knows("datasets", photos)
    return {"dataset" if named else "data": photos if named else Path(photos), "min_images": min_images}
