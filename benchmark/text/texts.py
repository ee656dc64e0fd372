"""The texts of a run: the names of its classes, the prompts that they are put into, and what a text tower makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...core.errors import UsageError
from ...core.progress import SILENT, Progress
from ...methods.base import Method
from ...tasks.datasets.base import Dataset
from ..backbones.weights.loading import LoadedBackbone
from ..config import RunConfig
from ..records.answerer import Text
from .features import text_features
from .names import readable_names
from .prompts import PromptSet, find_prompts


@dataclass(frozen=True)
class Texts:
    """The class names of a run and their prompts.

    Attributes:
        prompts: what names are put into; None for a method that uses the names as they are.
        file: names instead of the dataset's.
    """

    prompts: PromptSet | None
    file: Path | None

    def names(self, class_ids: Sequence[str], class_names: Sequence[str], progress: Progress = SILENT) -> tuple[str, ...]:
        """The readable name of each class of a split.

        Args:
            class_ids: of the split.
            class_names: of the split.
            progress: told of names that several classes share.

        Raises:
            UserError: the classes have no names.
        """
        names = readable_names(class_ids, class_names, self.file, progress)
        if self.prompts is None:
            progress.say(f"class names as '{names[0]}' (the first of {len(names)})")
        return names

    def features(self, backbone: LoadedBackbone, names: Sequence[str], device: torch.device, progress: Progress) -> Tensor:
        """The text feature of each class, float32 [C, D] of length 1."""
        assert self.prompts is not None
        many = len(self.prompts.templates)
        progress.say(f"prompt '{self.prompts.fill(names[0])[0]}'" + (f" (the first of {many})" if many > 1 else ""))
        return text_features(backbone, self.prompts, names, device, progress)

    def section(self, dataset: Dataset, split: str, choices: str | None) -> Text:
        """The record's section on the texts: enough to know whether another run has the same.

        Args:
            dataset: of the run.
            split: of the run.
            choices: the split whose episodes decide parameters; None where none does. Its names count if they are of a file.
        """
        return Text(
            names_sha256=self._names_sha256(dataset, split),
            prompts=None if self.prompts is None else self.prompts.name,
            prompts_sha256=None if self.prompts is None else self.prompts.sha256,
            class_names=None if self.file is None else self.file.name,
            choices_names_sha256=None if self.file is None or choices is None else self._names_sha256(dataset, choices),
        )

    def _names_sha256(self, dataset: Dataset, split: str) -> str:
        identifiers, names = zip(*dataset.class_list(split), strict=True)
        return hashlib.sha256("\n".join(self.names(identifiers, names)).encode()).hexdigest()


def texts_of(config: RunConfig, method: Method) -> Texts | None:
    """The texts that a config asks for; None where the method uses none.

    Raises:
        UsageError: the method uses none, and prompts or names are given; or there are no such prompts.
        UserError: a file cannot be read.
    """
    named = method.uses_text or method.uses_text_tower or method.uses_class_names
    if config.prompts is not None and not method.uses_text:
        raise UsageError(f"--prompts {config.prompts}: {config.method} puts class names into no prompts; leave it out")
    if config.class_names is not None and not named:
        raise UsageError(f"--class-names {config.class_names}: {config.method} uses no class names; leave it out")
    if not (method.uses_text or method.uses_text_tower or config.class_names):
        return None
    return Texts(find_prompts(config.prompts, config.dataset) if method.uses_text else None, config.class_names)
