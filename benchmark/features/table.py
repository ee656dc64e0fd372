"""The feature table: every image of a split encoded once, cached on disk, memory-mapped.

The cache key holds everything that changes a feature, so a table is never stale: at worst it is unused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...core.cache import Entry, Key, digest_of
from ...core.files import cache_root
from ...core.progress import Progress
from ...core.unfinished import Block, Reached, Unfinished
from ...tasks.datasets.split import Split
from ...tasks.episodes import TrainClasses
from ..backbones.weights.loading import LoadedBackbone
from ..device import device_name
from ..records.identity import file_safe
from ..records.sections import Encoded
from .encode import DEFAULT, VERSION, Encoding, encode
from .rows import RowFile, chunks
from .runtime import NotConverted, converted, version_of

FEATURES = "features.npy"
IN_MEMORY = 2**30  # bytes; a larger table is read from the disk, episode by episode


@dataclass(frozen=True)
class TableAbout:
    """The description that the cache keeps with a table: everything that changes a feature, and how they were made."""

    key: Key
    encoded: Encoded


@dataclass(frozen=True)
class FeatureTable:
    """Features of one split.

    Attributes:
        features: float32 or float16 [n, D], memory-mapped.
        device: where episodes are wanted.
        resident: the same on `device`, when it is small enough to be held there.
        encoded: how they were made; None where nobody noted it.
        file: where rows are looked up that are not resident; None takes them from `features`.
    """

    features: np.ndarray
    device: torch.device
    resident: Tensor | None
    encoded: Encoded | None = None
    file: RowFile | None = None

    @classmethod
    def of(cls, features: np.ndarray, device: torch.device, encoded: Encoded | None = None) -> FeatureTable:
        """A table of features [n, D], held on the device where it is small enough."""
        if features.nbytes > IN_MEMORY:
            return cls(features, device, None, encoded, RowFile.of(features))
        copy = np.empty(features.shape, features.dtype)
        for start, rows in chunks(features):
            copy[start : start + len(rows)] = rows
        return cls(features, device, torch.from_numpy(copy).to(device), encoded)

    def gather(self, rows: np.ndarray) -> Tensor:
        """The features of rows [E, R], as float32 [E, R, D] on the device."""
        if self.resident is None:
            flat = rows.reshape(-1)
            found = self.features[flat] if self.file is None else self.file.read(flat)
            return torch.from_numpy(found).to(self.device).float().view(*rows.shape, -1)
        index = torch.from_numpy(rows.reshape(-1)).to(self.device)
        return self.resident.index_select(0, index).float().view(*rows.shape, -1)

    def mean(self) -> Tensor:
        """float32 [D], the mean feature."""
        total = np.zeros(self.features.shape[1])
        for _, rows in chunks(self.features):
            total += rows.sum(axis=0, dtype=np.float64)
        return torch.from_numpy((total / len(self.features)).astype(np.float32)).to(self.device)

    def by_class(self, offsets: np.ndarray) -> TrainClasses:
        """The features by class; `offsets` int64 [C + 1] has the first row of each, and the number of rows."""

        def features_of(number: int) -> Tensor:
            return self.gather(np.arange(offsets[number], offsets[number + 1])[None])[0]

        means = torch.stack([features_of(number).double().mean(dim=0) for number in range(len(offsets) - 1)])
        return TrainClasses(means, features_of)


@dataclass(frozen=True)
class AveragedTable(FeatureTable):
    """The mean features of several views of the same images.

    Attributes:
        others: the tables of the further views.
    """

    others: tuple[FeatureTable, ...] = ()

    @classmethod
    def over(cls, tables: Sequence[FeatureTable]) -> AveragedTable:
        """The mean of tables, at least one."""
        first = tables[0]
        return cls(first.features, first.device, first.resident, first.encoded, first.file, tuple(tables[1:]))

    def gather(self, rows: np.ndarray) -> Tensor:
        """The mean features of rows [E, R], float32 [E, R, D] on the device."""
        total = super().gather(rows)
        for table in self.others:
            total += table.gather(rows)
        return total / (1 + len(self.others))


def key(backbone: LoadedBackbone, split: Split, encoding: Encoding = DEFAULT, device: str = "cpu") -> Key:
    """Everything that changes a feature.

    Args:
        backbone: the network, its weights and how images are made ready.
        split: the images.
        encoding: of which precision, compiling and the runtime count; the size of batches changes last bits alone.
        device: type of the device; others than the CPU round otherwise, and their tables are their own.
    """
    content: dict[str, object] = {
        "fingerprint": split.fingerprint,
        "split": split.name,
        "backbone": backbone.name,
        "parameters": backbone.parameters,
        "weights": backbone.weights_sha256,
        "preprocess": asdict(backbone.preprocess),
        "precision": encoding.precision,
        "code": [VERSION, backbone.code],
    }
    if encoding.compile:
        content["compile"] = True
    if encoding.runtime == "openvino":
        content["runtime"] = version_of(encoding.runtime)
    # Only what is not plain is added: the plain tables of before keep their keys.
    return content if device == "cpu" else {**content, "device": device}


def feature_table(
    backbone: LoadedBackbone, split: Split, device: torch.device, progress: Progress, encoding: Encoding = DEFAULT
) -> FeatureTable:
    """The table of a split: as it was imported or is in the cache, else encoded now.

    Args:
        backbone: moved to `device` where it encodes.
        split: whose images are encoded.
        device: where the network runs and episodes are wanted.
        progress: shows the encoding in images per second, and compares it with what the device can do where it is verbose.
        encoding: precision, batch size, whether to compile, runtime. A network that the runtime cannot hold runs in torch.

    Raises:
        UserError: it cannot be encoded (`encode`), or written, or imported features are of other images.
    """
    precomputed = backbone.precomputed(split)
    if precomputed is not None:
        features, encoded = precomputed
        return FeatureTable.of(features, device, encoded)
    return _in_runtime(
        lambda chosen: _kept_table(backbone, split, device, progress, chosen), backbone, device, progress, encoding
    )


def _in_runtime(
    make: Callable[[Encoding], FeatureTable],
    backbone: LoadedBackbone,
    device: torch.device,
    progress: Progress,
    encoding: Encoding,
) -> FeatureTable:
    """The table that `make` makes with the encoding whose runtime is chosen; torch's where the network does not convert."""
    encoding.check(device)
    encoding = replace(encoding, runtime=encoding.runtime_for(backbone.module, device))
    try:
        return make(encoding)
    except NotConverted as error:
        progress.say(f"backbone {backbone.name} runs in torch: {error}")
        return make(replace(encoding, runtime="torch"))


def _kept_table(
    backbone: LoadedBackbone, split: Split, device: torch.device, progress: Progress, encoding: Encoding
) -> FeatureTable:
    """The table from the cache, else encoded now.

    Raises:
        NotConverted: the runtime cannot hold the network.
        UserError: it cannot be encoded or written.
    """
    content = key(backbone, split, encoding, device.type)
    what, images = f"encoding {split.dataset} {split.name}", split.images

    def blocks(network: LoadedBackbone, reached: Reached) -> Generator[Block, None, None]:
        start = reached.done
        with closing(encode(network, images, device, encoding, start, reached.size or None)) as batches:
            for batch in batches:
                yield Block(np.arange(start, start + len(batch.features)), batch.features, batch.batch_size)
                start += len(batch.features)

    def fill(unfinished: Unfinished) -> TableAbout:
        network, shape = _network(backbone, encoding, progress), (len(images), backbone.feature_dim)
        rows = partial(blocks, network)
        reached = unfinished.write_rows(FEATURES, shape, encoding.dtype, rows, progress, what, "images")
        if progress.verbose:
            from .throughput import closing_line

            progress.say(closing_line(backbone, device, encoding.precision, len(images), reached.seconds))
        seconds, runtime = round(reached.seconds, 3), version_of(encoding.runtime)
        encoded = Encoded(len(images), seconds, device.type, device_name(device), encoding.precision, runtime)
        return TableAbout(content, encoded)

    # Batches of another size round otherwise: an interrupted encoding is gone on with in batches of one size.
    plan = digest_of({**content, "device": device.type, "batch_size": encoding.batch_size})
    kept = _entry(split, content).find_or_make(fill, progress, what, plan)
    return FeatureTable.of(kept.array(FEATURES), device, kept.about.encoded)


def _entry(split: Split, content: Key) -> Entry[TableAbout]:
    name = f"{split.dataset}-{split.name}-{file_safe(str(content['backbone']))}-{digest_of(content)[:24]}"
    return Entry(cache_root() / "features" / name, TableAbout)


def kept_features(
    backbone: LoadedBackbone, split: Split, device: torch.device, encoding: Encoding = DEFAULT
) -> np.ndarray | None:
    """The features of a split where they were imported or are in the cache, memory-mapped; None where they are to be encoded.

    Raises:
        UserError: imported features are of other images.
    """
    if (precomputed := backbone.precomputed(split)) is not None:
        return precomputed[0]
    for runtime in dict.fromkeys((encoding.runtime_for(backbone.module, device), "torch")):  # which it is if none converts
        content = key(backbone, split, replace(encoding, runtime=runtime), device.type)
        if kept := _entry(split, content).sound():
            return kept.array(FEATURES)
    return None


def table_of_rows(
    backbone: LoadedBackbone,
    split: Split,
    rows: np.ndarray,
    device: torch.device,
    progress: Progress,
    encoding: Encoding = DEFAULT,
) -> FeatureTable:
    """The features of a few rows [n] of a split, of which only those are encoded; they are rows 0 … n − 1 of the table."""
    precomputed = backbone.precomputed(split)
    if precomputed is not None:
        return FeatureTable.of(precomputed[0][rows], device)
    images = np.array(split.images[rows])

    def make(chosen: Encoding) -> FeatureTable:
        batches = encode(_network(backbone, chosen, progress), images, device, chosen)
        return FeatureTable.of(np.concatenate([batch.features for batch in batches]), device)

    return _in_runtime(make, backbone, device, progress, encoding)


def _network(backbone: LoadedBackbone, encoding: Encoding, progress: Progress) -> LoadedBackbone:
    """The backbone with its network in the encoding's runtime."""
    return converted(backbone, progress) if encoding.runtime == "openvino" else backbone
