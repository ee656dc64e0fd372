"""Features that were computed elsewhere, in the place of a backbone: `imported:NAME`, after `bench features import`.

There is no network: methods on features work as on any other backbone's, and all that needs images or a network is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Generator, Tensor, nn

from ...core.errors import UsageError, UserError, listed
from ...core.options import Settings, typed_values
from ...methods.base import Method
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split
from ..backbones.base import WITH_TEXT, Backbone, Preprocess
from ..backbones.weights.description import UNKNOWN
from ..backbones.weights.loading import LoadedBackbone
from ..config import RunConfig
from ..records.answerer import Backbone as Section
from ..records.sections import Encoded
from .encode import Encoding
from .imported import FEATURES, ImportedSplit, check_name, open_import, text_file

if TYPE_CHECKING:
    from ..backbones.clip.text_tower import TextTower
    from ..text.prompts import PromptSet

SCHEME = "imported:"
NOTHING = Preprocess(channels=0, size=0, mean=(), std=())  # no image is made ready


@dataclass(frozen=True, init=False)
class ImportedBackbone(Backbone):
    """Features that were computed elsewhere, such as imported:my-clip (bench features import)."""

    name: str = field(init=False)

    def __init__(self, name: str) -> None:
        """Check the name.

        Raises:
            UsageError: there can be no such name.
        """
        object.__setattr__(self, "name", check_name(name))

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> ImportedBackbone:
        """Make `imported:NAME`, which has no parameters."""
        typed_values({}, settings, f"backbone {name}")
        return cls(name.removeprefix(SCHEME))

    @property
    def parameters(self) -> Settings:
        """None: the name says everything."""
        return {}

    @classmethod
    def hub_weights(cls, name: str) -> str | None:
        """The import's name: it needs no `--weights`."""
        return cls.from_name(name, {}).name

    @classmethod
    def check_options(cls, config: RunConfig) -> None:
        """Check options that need a network.

        Raises:
            UsageError: one line that names the option.
        """
        owner = f"--backbone {config.backbone}"
        if config.checkpoint is not None:
            raise UsageError(
                f"--checkpoint {config.checkpoint} and {owner}: take one of them, a checkpoint has its own backbone"
            )
        if config.weights not in (None, (config.backbone or "").removeprefix(SCHEME)):
            raise UsageError(f"--weights {config.weights}: {owner} is features without a network; leave it out")
        if config.corruption is not None:
            raise UsageError(f"--corruption {config.corruption}: {owner} is features of clean images; take one with a network")
        for name, default in {**asdict(Encoding()), "views": None}.items():
            if getattr(config, name) != default:
                raise UsageError(f"--{name.replace('_', '-')}: with {owner} nothing is encoded; leave it out")

    @classmethod
    def precomputed(cls, config: RunConfig, dataset: Dataset, method: Method, tune: str) -> LoadedImport:
        """Open the imported features of every split that a run reads.

        Raises:
            UsageError: the method needs a network, or features of a split were not imported.
            UserError: what was imported is damaged.
        """
        assert config.backbone is not None
        recipe = cls.from_name(config.backbone, config.settings_of("backbone"))
        name = recipe.name
        _check_method(config, method, tune)
        needed = {config.split: ""}
        if method.uses_train_mean:
            needed.setdefault("train", f", and {config.method} needs their mean")
        if method.uses_train_classes:
            needed.setdefault("train", f", and {config.method} needs them")
        if undecided := method.undecided_with(tune):
            needed.setdefault("val", f", and {config.method} chooses {', '.join(undecided)} on them")
        splits = {split: open_import(name, dataset, split, why) for split, why in needed.items()}
        found = splits[config.split]
        if method.uses_text and not found.about.texts:
            raise UsageError(
                f"backbone {config.backbone}: no features of class names were imported, and {config.method} needs them"
            )
        maker, hashes = found.about.maker, [split.about.sha256 for split in splits.values()]
        return LoadedImport(
            name=config.backbone,
            recipe=recipe,
            module=NoNetwork(f"backbone {config.backbone}"),
            preprocess=NOTHING,
            feature_dim=found.about.shape[1],
            weights=name,
            weights_sha256=hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest(),
            pretraining=maker.pretraining or UNKNOWN,
            code=maker.code or "unknown",
            network_parameters=0,
            tune=tune,
            splits=splits,
        )

    def text_tower(self, weights: Path | None) -> TextTower:
        """There is none; features of class names may have been imported.

        Raises:
            UserError: always.
        """
        raise UserError(f"backbone {SCHEME}{self.name} has no text tower; {WITH_TEXT}")

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """There is none to be made.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"backbone {SCHEME}{self.name}: features without a network, and this needs one; see bench features list"
        )

    def build_from_hub(self, channels: int) -> tuple[nn.Module, str]:
        """As `build`."""
        return self.build(channels, 0, Generator()), ""


class NoNetwork(nn.Module):
    """Stands where a network would; whoever calls it asks for too much."""

    def __init__(self, owner: str) -> None:
        """Say who it belongs to ("backbone imported:my-clip")."""
        super().__init__()
        self.owner = owner

    def forward(self, images: Tensor) -> Tensor:
        """Encode nothing.

        Raises:
            UserError: always.
        """
        raise UserError(f"{self.owner}: features without a network; images cannot be encoded with it")


@dataclass(frozen=True)
class LoadedImport(LoadedBackbone):
    """Imported features of the splits that a run reads.

    Attributes:
        splits: by name.
    """

    splits: Mapping[str, ImportedSplit] = field(default_factory=dict)

    def section(self, encoding: Encoding) -> Section:
        """The record's `backbone` section; what made the features stands under `imported`, as far as it is known."""
        about = next(iter(self.splits.values())).about
        known = about.maker
        section = super().section(encoding)
        return replace(
            section, preprocess=known.preprocess, network_parameters=known.network_parameters, imported=about.made_by
        )

    def precomputed(self, split: Split) -> tuple[np.ndarray, Encoded | None]:
        """The imported features of a split.

        Raises:
            UserError: they are of other images.
        """
        found = self.splits[split.name]
        if found.about.fingerprint != split.fingerprint:
            what = f"of a clean split, and {split.name} is corrupted" if split.corruption else f"not of this {split.dataset}"
            raise UserError(
                f"backbone {self.name}: the imported features of {split.name} are {what} (fingerprint "
                f"{found.about.fingerprint[:12]}…, not {split.fingerprint[:12]}…)"
            )
        return found.array(FEATURES), found.about.encoded

    def precomputed_texts(self, prompts: PromptSet, names: Sequence[str]) -> np.ndarray:
        """The imported features of class names.

        Raises:
            UserError: others were imported, or none.
        """
        rows: dict[str, np.ndarray] = {}
        texts = [
            (text, split.array(text_file(i))) for split in self.splits.values() for i, text in enumerate(split.about.texts)
        ]
        for text, features in texts:
            if text.templates == prompts.templates:
                rows.update(zip(text.class_names, features, strict=True))
        cure = "export them with bench features export --prompts … and import that file"
        if not rows:
            there = listed(dict.fromkeys(f'"{text.templates[0]}"' for text, _ in texts)) or "none at all"
            raise UserError(f"backbone {self.name}: no text features of the prompts '{prompts.name}', only of {there}; {cure}")
        missing = [name for name in dict.fromkeys(names) if name not in rows]
        if missing:
            raise UserError(f"backbone {self.name}: no text features of {len(missing)} class names ({listed(missing)}); {cure}")
        return np.stack([rows[name] for name in names])


def _check_method(config: RunConfig, method: Method, tune: str) -> None:
    owner = f"backbone {config.backbone}: features without a network"
    if method.inputs_with(tune) == "images":
        if method.adapts and method.inputs_with("head") == "features":
            raise UsageError(f"{owner}, so --tune {tune} has nothing to move; take --tune head")
        raise UsageError(f"{owner}, and {config.method} works on images here; take a method on features (bench list methods)")
    if method.uses_text_tower:
        raise UsageError(f"{owner} or a text tower, and {config.method} learns prompts through one")
