"""The output of a training: a weights file, which holds its description, and the learning curves beside it.

During the training its checkpoints lie in a folder beside the weights (`NAME.training`); at the end that folder is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ....core.errors import UsageError, UserError
from ....core.files import os_errors_named, remove_folder
from ....core.options import Settings
from ...backbones.weights.checkpoint import read_description, write_checkpoint
from ...backbones.weights.description import Description

SUFFIX = ".safetensors"
CURVES = (".csv", ".png")
CURE = "take another --output, or replace it with --overwrite"


def check_output(output: Path) -> None:
    """Check the name of the weights file.

    Raises:
        UsageError: its suffix is another.
    """
    if output.suffix != SUFFIX:
        raise UsageError(f"--output {output}: the weights file is a {SUFFIX} file; its name has to end so")


def folder_of(output: Path) -> Path:
    """The folder of the checkpoints of a training whose weights will be `output`."""
    return output.with_name(f"{output.stem}.training")


@dataclass(frozen=True)
class Identity:
    """Everything that the result of a training depends on.

    Attributes:
        config: the options, all of them decided.
        fingerprint: of the train split.
        val_fingerprint: of the val split, which decides what state is kept.
        processes: number of them.
        start_sha256: of the weights that it started from, or of its teacher's.
        captions_sha256: of a file of captions.
    """

    config: Settings
    fingerprint: str | None
    val_fingerprint: str | None
    processes: int | None
    start_sha256: str | None = None
    captions_sha256: str | None = None


def is_finished(output: Path, identity: Identity, maker: str) -> bool:
    """Whether the weights are there, made in the very same way.

    Args:
        output: the weights file.
        identity: what the result depends on.
        maker: the command, for messages.

    Raises:
        UsageError: they were made in another way, or nobody knows how.
    """
    if not output.exists():
        return False
    try:
        about = read_description(output)
    except UserError:
        about = None
    if about is None or about.made_by.config is None:
        raise UsageError(f"{output} is there already, and not by this version of {maker}; {CURE}")
    seen = about.pretraining
    started = None if seen.started_from is None else seen.started_from.weights_sha256
    validated = about.val_accuracy.fingerprint or identity.val_fingerprint  # older versions did not write it
    made = Identity(about.made_by.config, seen.fingerprint, validated, about.made_by.processes, started, seen.captions_sha256)
    if made == identity:
        return True
    flat = [{**vars(each), **each.config, **each.config.get("settings", {})} for each in (made, identity)]
    names = [name for name in flat[1] if name not in ("config", "settings") and flat[0].get(name) != flat[1][name]]
    was = f" ({names[0]} {flat[0].get(names[0])}, not {flat[1][names[0]]})" if names else ""
    raise UsageError(f"{output} is there already, of another training{was}; {CURE}")


def publish(output: Path, module: nn.Module, about: Description) -> None:
    """Put weights and curves of a finished training where they belong, and remove its checkpoints.

    Raises:
        UserError: a file cannot be written; the checkpoints are then left as they are.
    """
    folder = folder_of(output)
    with os_errors_named(f"cannot write {output}"):
        for suffix in CURVES:
            (folder / f"curves{suffix}").replace(output.with_suffix(suffix))
    write_checkpoint(output, module.state_dict(), about)
    remove_folder(folder)
