"""The errors a user can cause: one line that says what is wrong and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST = 300  # characters of a word in a message; what is longer is cut in its middle


class UserError(Exception):
    """A run that cannot go on, for a reason the user can mend. The command line prints it and exits with `exit_code`.

    The message is one line, whatever a file's name or content that it repeats holds.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Keep the message, with control characters escaped and very long words cut."""
        super().__init__(one_line(message))


class UsageError(UserError):
    """A wrong name, value or combination of options, found before any work is done."""

    exit_code = 2


class Interrupted(UserError):
    """Ctrl-C: what was done is kept, and the same command goes on from there."""

    exit_code = 130


def one_line(message: str) -> str:
    """A message on one line that any terminal can show: control characters are escaped, very long words cut."""
    text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in message)
    return re.sub(rf"\S{{{LONGEST},}}", lambda word: f"{word[0][:120]}…{word[0][-60:]}", text)


def did_you_mean(name: str, known: Iterable[str], most: int | None = None) -> str:
    """The tail of an unknown-name error: the nearest known name, or the list of all, or of the first `most`."""
    known = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{lowered[near[0]]}'?"
    shown = known[:most]
    more = f" and {len(known) - len(shown)} more" if len(shown) < len(known) else ""
    return f"known: {', '.join(shown) or 'none'}{more}"


def listed(things: Iterable[object], most: int = 3) -> str:
    """The first few of a list, and how many more there are, so that a message stays one line."""
    names = [str(thing) for thing in things]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
