"""Classes from file names, by a pattern, wherever the files lie in a folder or an archive."""

from __future__ import annotations

import re
from pathlib import Path

from ....core.errors import UsageError, UserError, listed
from .finding import find_images
from .folder_layout import Choices, Layout, by_class, counted
from .holders import Holder, Member


def layout_of_pattern(root: Path, holder: Holder, choices: Choices) -> Layout:
    """Find the classes: what the group `label` of the pattern takes of each file name.

    Args:
        root: the user's folder or archive, for messages.
        holder: the holder that reads it.
        choices: with a pattern.

    Raises:
        UsageError: the pattern is no regular expression with such a group.
        UserError: no file name matches.
    """
    try:
        pattern = re.compile(choices.pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"pattern={choices.pattern}: no regular expression: {error}") from error
    if "label" not in pattern.groupindex:
        raise UsageError(rf"pattern={choices.pattern}: it has no group label, as in (?P<label>[a-z]+)_\d+")
    found, others = find_images(holder), []
    classes: dict[str, list[Member]] = {}
    for member in found.images:
        match = pattern.fullmatch(member.stem)
        if match and match["label"]:
            classes.setdefault(match["label"], []).append(member)
        else:
            others.append(member)
    if not classes:
        first = f"; the first is {others[0].name}" if others else ""
        raise UserError(f"root={root}: no name of its {len(others)} images matches pattern={choices.pattern}{first}")
    left_out = [f"{len(others)} that the pattern does not match ({listed(member.name for member in others)})"] if others else []
    return Layout(by_class(classes), None, ["classes from file names"], [*counted(found.others), *left_out])
