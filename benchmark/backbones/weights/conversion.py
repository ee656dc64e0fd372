"""Published weights as a checkpoint that `bench run --checkpoint` takes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ....core.errors import UsageError, UserError, did_you_mean
from ... import registry
from ...evaluation.plan import make_method
from ...records.answerer import Pretraining
from ...records.provenance import code_version, package_version
from ...training.command_line import command_line
from .checkpoint import write_checkpoint
from .description import UNKNOWN, Description, MadeBy, MetaTrained
from .file import read_tensors
from .layouts import layout_of

USUAL_WAYS = 5


def convert(
    layout: str,
    files: Sequence[Path],
    output: Path,
    dataset: str | None = None,
    ways: int | None = None,
    external: bool = True,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint with its description from published weights.

    Args:
        layout: how the files name their tensors, one of `weight_layouts.LAYOUTS`.
        files: safetensors or PyTorch files, as the layout wants them.
        output: the safetensors file.
        dataset: whose train classes the weights have seen; None: unknown.
        ways: classes of a training episode, for the description; None: those of the classifier, or 5.
        external: whether the weights may have seen more than those train classes.
        settings: parameters of the method that the weights were trained with.
        overwrite: replace a file that is there.

    Raises:
        UsageError: an unknown name or parameter, another number of files, or the output is there.
        UserError: a file is damaged, or its tensors are not those of the layout.
    """
    known = layout_of(layout, len(files))
    check_output(output, overwrite)
    _check_history(dataset, external)
    tensors = [_tensors(path) for path in files]
    try:
        released = known.read(tensors)
    except UserError as error:
        raise UserError(f"{', '.join(path.name for path in files)}: {error}") from error
    if ways is not None and released.ways not in (None, ways):
        raise UsageError(f"--ways {ways}: the classifier in {files[0].name} has {released.ways}")
    _, section = make_method(released.method, dict(settings or {}))
    ways = ways or released.ways or USUAL_WAYS
    options = {
        "layout": layout, "output": output.name, "dataset": dataset, "ways": ways, "external": external,
        "settings": dict(settings or {}),
    }  # fmt: skip
    about = Description(
        backbone=released.backbone_name,
        backbone_parameters=released.backbone.parameters,
        preprocess=released.preprocess,
        method=MetaTrained(released.method, section.parameters, ways),
        pretraining=Pretraining(dataset or UNKNOWN.dataset, f"released weights of {released.code}", external),
        made_by=MadeBy(
            command=f"{command_line('convert-weights', options)} {shlex.join(path.name for path in files)}",
            git_commit=code_version().git_commit,
            fewbench=package_version(),
        ),
    )
    both = nn.ModuleDict({"backbone": released.module, "learned": released.learned})
    write_checkpoint(output, both.state_dict(), about)
    return output


def check_output(output: Path, overwrite: bool) -> None:
    """Check the name of a checkpoint that is to be written.

    Raises:
        UsageError: it is no safetensors file, or there already.
    """
    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: a checkpoint is a safetensors file, such as {output.stem}.safetensors")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} is there already; take another --output, or replace it with --overwrite")


def _check_history(dataset: str | None, external: bool) -> None:
    if dataset is not None and not registry.knows("datasets", dataset):
        raise UsageError(f"unknown dataset '{dataset}'; {did_you_mean(dataset, registry.entries('datasets'))}")
    if dataset is None and not external:
        raise UsageError("--no-external says that only train classes were seen: name their --dataset")


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    return read_tensors(path)
