"""From a backbone and a split to a file of features that can be imported anywhere, and the list of a split's images."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ...core.decoding import encode
from ...core.errors import UsageError
from ...core.progress import Progress
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split
from ...tasks.datasets.store import sources_of
from .. import registry
from ..backbones.base import Backbone
from ..backbones.weights.loading import LoadedBackbone
from ..text.names import readable_names
from ..text.prompts import PromptSet, find_prompts
from .encode import Encoding
from .exchange import FeatureContents, check_suffix, write_contents
from .rows import chunks
from .table import feature_table

COLUMNS = ("row", "class_id", "class_name", "source", "fingerprint")  # of the list


def export_features(
    path: Path,
    dataset: Dataset,
    split: Split,
    backbone: LoadedBackbone,
    encoding: Encoding,
    device: torch.device,
    progress: Progress,
    prompts: Sequence[PromptSet] = (),
    names: Sequence[str] = (),
) -> tuple[int, int]:
    """Encode a split, or take what was encoded before, and write it with all that says what it is.

    Args:
        path: `.npz`, `.safetensors` or `.parquet`.
        dataset: of the split.
        split: whose images are encoded.
        backbone: encodes them, and class names where there are prompts.
        encoding: precision, batch size, whether to compile.
        device: where it runs.
        progress: told of long work.
        prompts: sets of prompts that the class names are put into; .parquet takes none.
        names: readable names of the split's classes, where there are prompts.

    Returns:
        Number and width of the features.

    Raises:
        UsageError: another suffix.
        UserError: it cannot be encoded or written.
    """
    check_suffix(path)
    table = feature_table(backbone, split, device, progress, encoding)
    arrays: dict[str, np.ndarray] = {"features": np.concatenate([np.array(rows) for _, rows in chunks(table.features)])}
    sources = sources_of(dataset.folder() / split.name)
    if sources:
        arrays["source"] = np.array(sources, dtype=object)
    if path.suffix == ".parquet":  # a table is read by people too
        arrays["class_id"] = np.array(split.class_ids, dtype=object)[split.labels]
        arrays["row"] = np.arange(len(split.labels))
    texts = []
    for number, one in enumerate(prompts):
        from ..text.features import text_features

        arrays[f"text.{number}"] = text_features(backbone, one, names, device, progress).cpu().numpy()
        texts.append({"name": one.name, "templates": [*one.templates], "class_names": [*names]})
    metadata = {
        "dataset_version": dataset.version,
        "dataset_parameters": dataset.recorded_parameters(),
        "backbone": encode(backbone.section(encoding)),
        "encoded": None if table.encoded is None else asdict(table.encoded),
        "texts": texts,
    }
    entries = {"dataset": split.dataset, "split": split.name, "fingerprint": split.fingerprint}
    entries["metadata"] = json.dumps(metadata, sort_keys=True)
    write_contents(path, FeatureContents(arrays, entries))
    count, width = table.features.shape
    return count, width


def texts_for(
    dataset: Dataset,
    split: str,
    backbone: str,
    prompts: Sequence[str] | None,
    file: Path | None,
    path: Path,
    progress: Progress,
) -> tuple[list[PromptSet], tuple[str, ...]]:
    """The prompts and class names whose features go into a file.

    Without `prompts` these are the single one, where backbone, file and dataset have what that takes.

    Args:
        dataset: whose classes are named.
        split: of which.
        backbone: its registered name.
        prompts: as `--prompts` takes them.
        file: names instead of the dataset's.
        path: the file of features.
        progress: told where class names are missing.

    Returns:
        Sets of prompts, and the name of each class; both empty where no texts are encoded.

    Raises:
        UsageError: there are no such prompts, classes have no names, or the file has no place for them.
    """
    cls: type[Backbone] = registry.load(registry.find("backbones", backbone))
    able = cls.text_tower is not Backbone.text_tower and path.suffix != ".parquet"
    if prompts is None and file is None and not able:
        return [], ()
    if path.suffix == ".parquet":
        raise UsageError(f"{path}: a .parquet file has no place for text features; take .npz or .safetensors")
    identifiers, given = zip(*dataset.class_list(split), strict=True)
    sets = [find_prompts(text, dataset.name) for text in prompts or ["single"]]
    try:
        return sets, readable_names(identifiers, given, file, progress)
    except UsageError as error:
        if prompts is not None or file is not None:
            raise
        progress.say(f"without text features: {error}")
        return [], ()


def template(split: Split, sources: Sequence[str]) -> str:
    """A CSV list of a split's images, for whoever encodes them elsewhere: `COLUMNS`, one line a row."""
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(COLUMNS)
    for row, label in enumerate(split.labels.tolist()):
        source = sources[row] if sources else ""
        lines.writerow([row, split.class_ids[label], split.class_names[label], source, split.fingerprint])
    return buffer.getvalue()
