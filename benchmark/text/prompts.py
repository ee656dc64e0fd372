"""Prompt sets: the texts that class names are put into before a text tower reads them.

Published sets, by the names that `--prompts` takes, and what `ensemble` means for each dataset:

- `single`: "a photo of a {}." (Radford et al. 2021, arXiv:2103.00020).
- `imagenet-80` and `imagenet-7`: OpenAI's 80 prompts for ImageNet, and 7 that were selected from them, as open_clip has them.
- `ensemble`: mini- and tiered-imagenet `imagenet-80`; cifar-fs and fc100 the 18 prompts that CLIP's authors used on CIFAR-100;
  cub-200 the one that they used on Birdsnap; all others but the following two `imagenet-7`.
- Ours, not published: `ensemble` on omniglot and trifeature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError, did_you_mean
from ...core.files import os_errors_named, regular_file

PLACE = "{}"  # of the class name
SINGLE, ENSEMBLE, IMAGENET_80, IMAGENET_7 = "single", "ensemble", "imagenet-80", "imagenet-7"
NAMES = (SINGLE, ENSEMBLE, IMAGENET_80, IMAGENET_7)

PHOTO = "a photo of a {}."
# https://github.com/openai/CLIP/blob/main/data/prompts.md, CIFAR100 and Birdsnap
KINDS = ("", "blurry ", "black and white ", "low contrast ", "high contrast ", "bad ", "good ")
CIFAR = tuple(
    text
    for article in ("a", "the")
    for text in (
        *(f"a {kind}photo of {article} {{}}." for kind in KINDS),
        *(f"a photo of {article} {size} {{}}." for size in ("small", "big")),
    )
)
BIRDS = ("a photo of a {}, a type of bird.",)
CHARACTERS = ("a handwritten {}.", "a drawing of the letter {}.", "the character {}, written by hand.")
OBJECTS = ("a photo of a {}.", "a picture of a {}.", "a rendering of a {}.", "a small {}.", "a large {}.")

OF_DATASET: dict[str, str | tuple[str, ...]] = {
    "mini-imagenet": IMAGENET_80,
    "tiered-imagenet": IMAGENET_80,
    "cifar-fs": CIFAR,
    "fc100": CIFAR,
    "cub-200": BIRDS,
    "omniglot": CHARACTERS,
    "trifeature": OBJECTS,
}


@dataclass(frozen=True)
class PromptSet:
    """Texts with a place for a class name; a class's text feature is the mean over all of them.

    Attributes:
        name: what the user called it; a file goes by its name without the folder.
        templates: at least one text, each with `{}`.
    """

    name: str
    templates: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the templates in order."""
        return hashlib.sha256(json.dumps(self.templates).encode()).hexdigest()

    def fill(self, name: str) -> list[str]:
        """Every template with a class name in its place; braces elsewhere stay as they are."""
        return [template.replace(PLACE, name) for template in self.templates]


def find_prompts(text: str | None, dataset: str) -> PromptSet:
    """The prompt set that `--prompts` means.

    Args:
        text: one of `NAMES`, or a file: `.json` with a list of texts, any other with a text a line. None means `single`.
        dataset: name of the dataset, which decides what `ensemble` is.

    Raises:
        UsageError: neither a name nor a file, or the file has no prompts or one without `{}`.
        UserError: the file cannot be read.
    """
    if text is None or text == SINGLE:
        return PromptSet(SINGLE, (PHOTO,))
    if text in NAMES:
        chosen = OF_DATASET.get(dataset, IMAGENET_7) if text == ENSEMBLE else text
        return PromptSet(text, _of_imagenet(chosen) if isinstance(chosen, str) else chosen)
    path = Path(text)
    if not path.is_file():
        near = did_you_mean(text, NAMES)
        known = f" (or {', '.join(NAMES)})" if near.startswith("did") else ""
        raise UsageError(f"--prompts {text}: no such prompt set or file; {near}{known}")
    return PromptSet(path.name, _of_file(path))


def _of_imagenet(name: str) -> tuple[str, ...]:
    """OpenAI's prompts, which open_clip has as functions from a class name to a text."""
    import open_clip  # takes seconds

    functions = open_clip.OPENAI_IMAGENET_TEMPLATES if name == IMAGENET_80 else open_clip.SIMPLE_IMAGENET_TEMPLATES
    return tuple(function(PLACE) for function in functions)


def _of_file(path: Path) -> tuple[str, ...]:
    """The prompts of a file, without the space around them and without empty lines."""
    owner = f"--prompts {path}"
    with os_errors_named("cannot read"):
        content = regular_file(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
        given = json.loads(text) if path.suffix.lower() == ".json" else text.splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{owner}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{owner}: not JSON ({error}); give a list of texts, or a text a line in a .txt file") from error
    if not isinstance(given, list) or not all(isinstance(prompt, str) for prompt in given):
        raise UsageError(f'{owner}: not a JSON list of texts, such as ["a photo of a {PLACE}.", "a drawing of a {PLACE}."]')
    prompts = [prompt.strip() for prompt in given if prompt.strip()]
    _check(owner, prompts)
    return tuple(prompts)


def _check(owner: str, prompts: Sequence[str]) -> None:
    if not prompts:
        raise UsageError(f"{owner}: it has no prompts; write one a line, such as {PHOTO}")
    for number, prompt in enumerate(prompts, start=1):
        if PLACE not in prompt:
            raise UsageError(f"{owner}: prompt {number} has no {PLACE} for the class name: {' '.join(prompt.split())[:60]}")
