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
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError, did_you_mean
from ...core.files import not_a_file
from .prompt_files import PLACE, prompts_of_file

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
        text: one of `NAMES`, a file (see `prompt_files`), or FILE:SET for one set of a file. None means `single`.
        dataset: name of the dataset, which decides what `ensemble` is.

    Raises:
        UsageError: neither a name nor a file, or the file has no prompts or one without a place for the name.
        UserError: the file cannot be read.
    """
    if text is None or text == SINGLE:
        return PromptSet(SINGLE, (PHOTO,))
    if text in NAMES:
        chosen = OF_DATASET.get(dataset, IMAGENET_7) if text == ENSEMBLE else text
        return PromptSet(text, _of_imagenet(chosen) if isinstance(chosen, str) else chosen)
    path, chosen = Path(text), ""
    if not path.is_file() and ":" in text:  # FILE:SET
        path, chosen = Path(text.rpartition(":")[0]), text.rpartition(":")[2]
    if not path.is_file():
        near = did_you_mean(text, NAMES)
        known = f" (or {', '.join(NAMES)})" if near.startswith("did") else ""
        told = not_a_file(path) if text and path.exists() else "no such prompt set or file"
        raise UsageError(f"--prompts {text}: {told}; {near}{known}")
    return PromptSet(f"{path.name}:{chosen}" if chosen else path.name, prompts_of_file(path, chosen, dataset))


def _of_imagenet(name: str) -> tuple[str, ...]:
    """OpenAI's prompts, which open_clip has as functions from a class name to a text."""
    import open_clip  # takes seconds

    functions = open_clip.OPENAI_IMAGENET_TEMPLATES if name == IMAGENET_80 else open_clip.SIMPLE_IMAGENET_TEMPLATES
    return tuple(function(PLACE) for function in functions)
