"""The errors a user can cause: one line that says what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A run that cannot go on, for a reason the user can mend. The command line prints it and exits with `exit_code`."""

    exit_code = 1


class UsageError(UserError):
    """A wrong name, value or combination of options, found before any work is done."""

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The tail of an unknown-name error: the nearest known name, or the list of all."""
    known = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"did you mean '{lowered[near[0]]}'?" if near else f"known: {', '.join(known) or 'none'}"
