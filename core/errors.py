"""The errors that a user can cause: one line that says what is wrong and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST = 300  # characters of a word in a message; a longer word is cut in its middle
MOST_NAMES = 30  # in a list of all names: every registered method, but not every class of scikit-learn
FEW_NAMES = 5  # of names that another package has by the hundred


class UserError(Exception):
    """An error that the user can mend. The command line prints the message and exits with `exit_code`.

    The message is one line, also where it repeats a file's name or content.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Escape control characters in the message and cut very long words."""
        super().__init__(one_line(message))


class UsageError(UserError):
    """A wrong name, value or combination of options, found before any work is done."""

    exit_code = 2


class Interrupted(UserError):
    """Ctrl-C was pressed. Finished work is kept, and the same command continues it."""

    exit_code = 130


def one_line(message: str) -> str:
    """Put a message on one line that any terminal can show: escape control characters and cut very long words."""
    return re.sub(rf"\S{{{LONGEST},}}", lambda word: f"{word[0][:120]}…{word[0][-60:]}", printable(message))


def printable(text: str) -> str:
    """The text on one line that any terminal shows: control characters, newlines among them, are escaped."""
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def did_you_mean(name: str, known: Iterable[str], most: int = MOST_NAMES) -> str:
    """The end of an unknown-name message: the nearest known name, or else a list of the first `most` names."""
    known = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{lowered[near[0]]}'?"
    shown = known[:most]
    more = f" and {len(known) - len(shown)} more" if len(shown) < len(known) else ""
    return f"known: {', '.join(shown) or 'none'}{more}"


def listed(things: Iterable[object], most: int = 3) -> str:
    """The first `most` things of a list and the number of the others: "a, b, c and 4 more"."""
    names = [str(thing) for thing in things]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
