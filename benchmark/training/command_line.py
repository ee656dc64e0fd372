"""The command that repeats a training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def command_line(verb: str, options: Mapping[str, Any], processes: int = 1) -> str:
    """A command with every option written out, whatever defaults become later.

    Args:
        verb: of `bench`.
        options: value by name; None leaves an option out, and `settings` are those of `--set`.
        processes: started by `torchrun` where there are several.
    """
    torchrun = [] if processes == 1 else ["torchrun", f"--nproc-per-node={processes}", "--no-python"]
    words = [*torchrun, "bench", verb]
    for name, value in options.items():
        option = name.replace("_", "-")
        if name == "settings":
            words.extend(word for key, setting in value.items() for word in ("--set", f"{key}={setting}"))
        elif isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option}")
        elif value is not None:
            words.extend([f"--{option}", str(value)])
    return shlex.join(words)
