"""Class names that a text tower can read.

The identifiers of ILSVRC's 1,000 classes get the names that OpenAI curated for CLIP: WordNet's first words are often ambiguous
(`n02012849` and `n03126707` are both "crane") or not what an image shows (`n03710721` is "maillot"). Other classes keep the
dataset's readable names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ...core.errors import UsageError, listed
from ...core.progress import SILENT, Progress
from .name_files import COLUMNS, names_of_file

WORDNET_ID = re.compile(r"n\d{8}")
CURE = "give them: --class-names FILE"


def readable_names(
    class_ids: Sequence[str], class_names: Sequence[str], file: Path | None, progress: Progress = SILENT
) -> tuple[str, ...]:
    """The name of each class as prompts take it.

    A name of the file counts first, then OpenAI's for a class of ILSVRC, then the dataset's with spaces for underscores.

    Args:
        class_ids: identifiers of the classes of a split.
        class_names: what the dataset calls them.
        file: see `name_files`; classes that it leaves out keep their names.
        progress: told once of classes that share a name, and of classes that the file leaves out.

    Returns:
        As many names; classes that share one are told apart by nothing but their images.

    Raises:
        UsageError: a class has no name, the file is of no known form, or a class in it has no name or two.
        UserError: the file cannot be read.
    """
    given = {} if file is None else names_of_file(file, class_ids)
    if file is not None:
        _say_left_out(class_ids, given, file, progress)
    chosen = given if all(class_id in given for class_id in class_ids) else {**_curated_of(class_ids), **given}
    names, unnamed = [], []
    for class_id, name in zip(class_ids, class_names, strict=True):
        if class_id not in chosen and not _says_something(name):
            unnamed.append(class_id)
        names.append(chosen.get(class_id) or " ".join(name.replace("_", " ").split()))
    if unnamed:
        what = "the dataset has no class names" if len(unnamed) == len(names) else "some classes have no names"
        raise UsageError(f"{what} ({listed(unnamed)}); {CURE}, a CSV with the columns {','.join(COLUMNS)}")
    _say_shared(class_ids, names, progress)
    return tuple(names)


@cache
def curated_names() -> Mapping[str, str]:
    """OpenAI's names of ILSVRC's 1,000 classes, by WordNet id.

    The names are open_clip's copy of https://github.com/openai/CLIP/blob/main/notebooks/Prompt_Engineering_for_ImageNet.ipynb;
    they stand in the order of ILSVRC's labels, which is that of timm's list of WordNet ids.
    """
    from open_clip import IMAGENET_CLASSNAMES  # takes seconds
    from timm.data.imagenet_info import ImageNetInfo

    return dict(zip(ImageNetInfo("imagenet-1k").label_names(), IMAGENET_CLASSNAMES, strict=True))


def _curated_of(class_ids: Sequence[str]) -> dict[str, str]:
    """Curated names, by the identifiers that have one: a WordNet id, or a folder of that name."""
    wordnet = {class_id: last for class_id in class_ids if WORDNET_ID.fullmatch(last := class_id.rpartition("/")[2])}
    known = curated_names() if wordnet else {}
    return {class_id: known[node] for class_id, node in wordnet.items() if node in known}


def _says_something(name: str) -> bool:
    """Whether a name is more than a number or a WordNet id."""
    return any(map(str.isalpha, name)) and not WORDNET_ID.fullmatch(name.strip().rpartition("/")[2])


def _say_left_out(class_ids: Sequence[str], given: Mapping[str, str], file: Path, progress: Progress) -> None:
    """Names of other splits are no mistake; a class that is left out may be one, and then an unknown identifier shows it."""
    missing = [class_id for class_id in class_ids if class_id not in given]
    if missing:
        known = set(class_ids)
        others = [class_id for class_id in given if class_id not in known]
        also = f"; no classes of this split: {listed(others)}" if others else ""
        progress.say(f"--class-names {file} leaves out {len(missing)} of {len(class_ids)} classes: {listed(missing)}{also}")


def _say_shared(class_ids: Sequence[str], names: Sequence[str], progress: Progress) -> None:
    by_name: dict[str, list[str]] = {}
    for class_id, name in zip(class_ids, names, strict=True):
        by_name.setdefault(name.casefold(), []).append(class_id)  # tokenizers ignore case
    shared = [f"{' and '.join(ids)} ({name})" for name, ids in by_name.items() if len(ids) > 1]
    if shared:
        progress.say(f"classes with one name, which their text cannot tell apart: {listed(shared)}; --class-names FILE can")
