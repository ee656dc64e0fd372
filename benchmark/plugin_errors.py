"""Errors of somebody else's code, told in one line with the place where they were raised."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.code_versions import INSTALLED
from ..core.errors import UserError

FOLDERS: set[Path] = set()  # of imported plug-ins


def frames_of(error: BaseException | None) -> list[traceback.FrameSummary]:
    """The frames of an error that are in a plug-in's code, the innermost last."""
    found = []
    for frame, line in traceback.walk_tb(None if error is None else error.__traceback__):
        if _of_plugin(frame.f_code.co_filename, str(frame.f_globals.get("__name__"))):
            found.append(traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name))
    return found


def told(error: BaseException) -> str:
    """An error in one line: class, message and, for a plug-in's, file and line."""
    frames = frames_of(error)
    place = f" ({_short(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn an error of a plug-in's code, or a lack of memory, into a `UserError`; errors of our own keep their traceback."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"not enough memory: {error or 'take fewer or smaller images'}") from error
    except Exception as error:
        if not frames_of(error):
            raise
        raise UserError(f"a plug-in failed: {told(error)}") from error


def _of_plugin(file: str, module: str) -> bool:
    if module.partition(".")[0] == "fewbench":
        return False
    path = Path(file)
    return any(path.is_relative_to(folder) and not INSTALLED.intersection(path.relative_to(folder).parts) for folder in FOLDERS)


def _short(file: str) -> str:
    """A path, relative to the current folder if it lies there."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
