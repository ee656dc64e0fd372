"""The output of a training: a weights file, which holds its description, and the learning curves beside it.

During the training its checkpoints lie in a folder beside the weights (`NAME.training`); at the end that folder is removed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ....core.errors import UsageError, UserError
from ....core.files import os_errors_named, remove_folder
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


def is_finished(output: Path, identity: dict[str, Any], maker: str) -> bool:
    """Whether the weights are there, made in the very same way.

    Args:
        output: the weights file.
        identity: what the result depends on: `config`, `fingerprint` of the train split, number of `processes`, and
            `start_sha256` of the weights that it started from, `captions_sha256` of a file of captions, where there are such.
        maker: the command, for messages.

    Raises:
        UsageError: they were made in another way, or nobody knows how.
    """
    if not output.exists():
        return False
    try:
        about = read_description(output)
        history, made_by = (about.pretraining, about.made_by) if about else ({}, {})
        started = history.get("started_from")
        made = {
            "config": made_by["config"],
            "fingerprint": history["fingerprint"],
            "processes": made_by["processes"],
            **({"start_sha256": started["weights_sha256"]} if started else {}),
            **({"captions_sha256": history["captions_sha256"]} if "captions_sha256" in history else {}),
        }
    except (UserError, KeyError, TypeError):
        raise UsageError(f"{output} is there already, and not by this version of {maker}; {CURE}") from None
    if made == identity:
        return True
    flat = [{**each, **each["config"], **each["config"].get("settings", {})} for each in (made, identity)]
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
