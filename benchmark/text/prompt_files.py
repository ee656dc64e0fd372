"""Files of prompts as people have them: a text a line, JSON with a list or with several sets, lines pasted from Python.

A prompt has one place for the class name: `{}`, or what others write there, such as `{c}`, `{classname}` or `%s`.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from pathlib import Path

from ...core.errors import UsageError, listed
from ...core.files import os_errors_named, regular_file

PLACE = "{}"  # of the class name
EXAMPLE = "a photo of a {}."
MARK = re.compile(r"(?:[-*•]|\d+[.)])\s+")  # of a line in a list
QUOTES = "\"'`“”„‘’«»"
CODE = re.compile(r"lambda\b|\.format\(|[{\[]\s*[\"']")
PLACES = re.compile(r"\{[A-Za-z0-9_]*\}|%s|[<\[](?:class|name|label|classname|class name)[>\]]", re.IGNORECASE)


def prompts_of_file(path: Path, chosen: str, dataset: str) -> tuple[str, ...]:
    """The prompts of a file, without the space around them and without empty lines.

    Args:
        path: the file.
        chosen: name of a set in a file of several, or "".
        dataset: whose set is taken where none is chosen.

    Raises:
        UsageError: the file has no prompts, several sets of which none is chosen, or a prompt without a place or with two.
        UserError: the file cannot be read.
    """
    owner = f"--prompts {path}"
    with os_errors_named("cannot read"):
        content = regular_file(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
        given = json.loads(text) if path.suffix.lower() == ".json" else _lines(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{owner}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{owner}: not JSON ({error}); give a list of texts, or a text a line in a .txt file") from error
    if isinstance(given, dict):
        given = _chosen_set(owner, given, chosen, dataset)
    elif chosen:
        raise UsageError(f"{owner}: it has one set of prompts, which has no name; leave ':{chosen}' out")
    if not isinstance(given, list) or not all(isinstance(prompt, str) for prompt in given):
        raise UsageError(f'{owner}: not a JSON list of texts, such as ["{EXAMPLE}", "a drawing of a {PLACE}."]')
    prompts = [prompt.strip() for prompt in given if prompt.strip()]
    if not prompts:
        raise UsageError(f"{owner}: it has no prompts; write one a line, such as {EXAMPLE}")
    return tuple(_with_place(owner, number, prompt) for number, prompt in enumerate(prompts, start=1))


def _chosen_set(owner: str, sets: dict[str, object], chosen: str, dataset: str) -> object:
    """One of several sets: the one that is chosen, the only one, or the one that is called as the dataset."""
    plain = {re.sub(r"\W|_", "", name).lower(): name for name in sets}
    name = chosen or (next(iter(sets)) if len(sets) == 1 else plain.get(re.sub(r"\W|_", "", dataset).lower(), ""))
    if name not in sets:
        raise UsageError(f"{owner}: it has the sets {listed(sets, 8)}; choose one with --prompts FILE:SET")
    return [sets[name]] if isinstance(sets[name], str) else sets[name]


def _lines(text: str) -> list[str]:
    """A text a line. What was pasted from Python gives the texts that Python would read."""
    whole = _from_python(text)
    if whole is not None:
        return whole
    return [prompt for line in text.splitlines() for prompt in _from_python(line) or [_of_line(line)]]


def _of_line(line: str) -> str:
    """The text of a line, without the mark of a list and without quotes around it."""
    text = MARK.sub("", line.strip(), count=1).removesuffix(",") if MARK.match(line.strip()) else line.strip().removesuffix(",")
    return text[1:-1] if len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES else text


def _from_python(text: str) -> list[str] | None:
    """The texts of a literal, or of a list or tuple of them, perhaps assigned to a name; None for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes
            body = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if len(body) != 1 or not isinstance(body[0], ast.Expr | ast.Assign):
        return None
    value = body[0].value
    found = [_of_node(node) for node in (value.elts if isinstance(value, ast.List | ast.Tuple) else [value])]
    texts = [one for one in found if one is not None]
    return texts if texts and len(texts) == len(found) else None


def _of_node(node: ast.expr) -> str | None:
    """The text of a string, of an f-string whose parts are names, or of `lambda c: f"…"` as CLIP's authors wrote them."""
    if isinstance(node, ast.Lambda):
        return _of_node(node.body)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and len(node.args) == 1
    ):
        return _of_node(node.func.value)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    parts = [f"{{{part.value.id}}}" if _is_name(part) else _of_node(part) for part in node.values]  # pyright: ignore
    return None if None in parts else "".join(map(str, parts))


def _is_name(part: ast.expr) -> bool:
    return isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name)


def _with_place(owner: str, number: int, prompt: str) -> str:
    """The prompt with `{}` wherever the class name goes."""
    places = sorted(set(PLACES.findall(prompt)))
    shown = " ".join(prompt.split())[:60]
    if CODE.search(prompt):
        raise UsageError(f"{owner}: prompt {number} is code, not a text with a {PLACE} for the class name: {shown}")
    if not places:
        raise UsageError(f"{owner}: prompt {number} has no {PLACE} for the class name: {shown}")
    if len(places) > 1:
        raise UsageError(f"{owner}: prompt {number} has places for several things, {' and '.join(places)}: {shown}")
    return prompt.replace(places[0], PLACE)
