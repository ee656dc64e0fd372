"""`bench convert-weights`: published weights as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..parts.lines import say


def convert_weights(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="safetensors or PyTorch files.")],
    output: Annotated[Path, typer.Option(help="The checkpoint, a safetensors file.")],
    layout: Annotated[
        str | None, typer.Option(help="relation-net (encoder, then relation module) or maml (one file of a PyTorch port).")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store a checkpoint of fewbench as float16, in half the bytes; no --layout.")
    ] = False,
    dataset: Annotated[str | None, typer.Option(help="Dataset whose train classes the weights have seen.")] = None,
    ways: Annotated[
        int | None, typer.Option(help="Classes of a training episode; default: the classifier's, or 5.", min=2)
    ] = None,
    external: Annotated[
        bool, typer.Option("--external/--no-external", help="Whether more than those train classes may have been seen.")
    ] = True,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Parameter of the method that they were trained with, name=value.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Rename published weights into a checkpoint for `bench run --checkpoint`, or store a checkpoint in half the bytes.

    Example: bench convert-weights --layout relation-net encoder.pkl relation.pkl --output relation.safetensors
    """
    from ....core.errors import UsageError
    from ....core.options import parse_assignments
    from ...backbones.weights.conversion import check_output, convert

    if half:
        from ...backbones.weights.halving import halve

        if layout or dataset or ways or not external or set_ or len(files) != 1:
            raise UsageError("--half takes one checkpoint and --output; its description stays as it is")
        check_output(output, overwrite)
        say(halve(files[0], output))
        return
    if layout is None:
        raise UsageError("name the --layout of the published weights, or --half for a checkpoint of fewbench")
    say(convert(layout, files, output, dataset, ways, external, parse_assignments(set_ or []), overwrite))
