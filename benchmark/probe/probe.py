"""A probe: every attribute of a dataset read off every layer of a network, with its weights and as it was before training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Generator, Tensor

from ...core.errors import UsageError, UserError
from ...core.progress import Progress
from ...core.random_streams import Purpose, distinct, words
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import SPLITS, Split
from .. import registry
from ..backbones.weights.find import find_weights
from ..backbones.weights.loading import LoadedBackbone, load_backbone
from ..device import choose_device
from ..features.encode import Encoding
from ..features.encode import encode as encode_images
from ..records.provenance import code_version
from .config import WITH_ATTRIBUTES, ProbeConfig
from .layers import Layers
from .readout import Found, Labelled, read_out
from .results import Probe, Readout

TORCH = Encoding(runtime="torch")  # the layers of a converted network cannot be had


def probe(config: ProbeConfig, progress: Progress) -> Probe:
    """Read every attribute off every layer of a network, before and after its training.

    Before its training a network has the initial weights that its seed gives.

    Raises:
        UsageError: an unknown name or parameter, or a dataset without attributes.
        UserError: the weights are missing or do not fit, or a value occurs in no train image.
    """
    dataset: Dataset = registry.make("datasets", config.dataset, config.settings_of("dataset"))
    if type(dataset).attributes is Dataset.attributes:  # before a download
        raise _without_attributes(dataset)
    device = choose_device(config.device)
    weights = find_weights(config.backbone, config.weights, config.dataset)
    backbone = load_backbone(config.backbone, config.settings_of("backbone"), weights, progress)
    splits = {name: dataset.split(name, progress) for name in SPLITS}
    wanted = {"train": config.images, "val": config.tested // 2, "test": config.tested}
    rows = {name: chosen_rows(len(splits[name].images), wanted[name], config.seed, name) for name in SPLITS}
    values = attribute_values(dataset, splits, rows)
    states = {"before": initial(backbone), "after": backbone}
    found: dict[tuple[str, str, str], Found] = {}
    widths: Mapping[str, int] = {}
    with progress.track("reading attributes: layers", 2 * len(values)) as advance:
        for state, network in states.items():
            widths, numbers = layers_of(network, splits, rows, device)
            for attribute, (names, numbered) in values.items():
                for layer in widths:
                    fit, val, test = (Labelled(numbers[name][layer], numbered[name]) for name in SPLITS)
                    found[state, layer, attribute] = read_out(fit, val, test, len(names))
                advance(1)
    readouts = []
    for layer, width in widths.items():
        for attribute in values:
            before, after = (found[state, layer, attribute] for state in states)
            costs = before.cost, after.cost
            readouts.append(Readout(layer, width, attribute, before.accuracy, after.accuracy, costs))
    return Probe(
        dataset=registry.find("datasets", config.dataset).name,
        dataset_parameters=dataset.changed_parameters(),
        fingerprints={name: split.fingerprint for name, split in splits.items()},
        backbone=backbone.section(TORCH),
        values={attribute: len(names) for attribute, (names, _) in values.items()},
        images={name: len(mine) for name, mine in rows.items()},
        seed=config.seed,
        readouts=tuple(readouts),
        fewbench=code_version(),
    )


def _without_attributes(dataset: Dataset) -> UsageError:
    return UsageError(f"--dataset {dataset.name}: its images have no attributes; take {WITH_ATTRIBUTES}")


def chosen_rows(images: int, wanted: int, seed: int, split: str) -> np.ndarray:
    """Rows drawn without replacement from a split, int64 [at most `wanted`], in rising order."""
    count = min(images, wanted)
    draws = words(seed, Purpose.PROBE, SPLITS.index(split), 0, count, 1)
    return np.sort(distinct(draws, np.array([images]))[:, 0].astype(np.int64))


def attribute_values(
    dataset: Dataset, splits: Mapping[str, Split], rows: Mapping[str, np.ndarray]
) -> dict[str, tuple[list[str], dict[str, Tensor]]]:
    """The values of each attribute, sorted, and by split the number of the value of each row.

    Raises:
        UsageError: the dataset has no attributes, or one of them has a single value.
        UserError: a value occurs in no train image.
    """
    of_splits = {name: dataset.attributes(split) for name, split in splits.items()}
    if not of_splits["train"]:
        raise _without_attributes(dataset)
    found = {}
    for attribute in of_splits["train"]:
        texts = {name: [of_splits[name][attribute][int(row)] for row in rows[name]] for name in splits}
        names = sorted(set(texts["train"]))
        if missing := set(texts["val"] + texts["test"]) - set(names):
            raise UserError(f"{dataset.name}: {attribute} {min(missing)} is in none of the train images; take more --images")
        if len(names) > 1:
            numbers = {name: torch.tensor([names.index(text) for text in mine]) for name, mine in texts.items()}
            found[attribute] = names, numbers
    return found


def initial(backbone: LoadedBackbone) -> LoadedBackbone:
    """The backbone with the initial weights that its training began with; those of seed 0 where nobody knows the seed."""
    generator = Generator().manual_seed(backbone.pretraining.seed or 0)
    images = backbone.preprocess
    return replace(backbone, module=backbone.recipe.build(images.channels, images.size, generator).eval())


def layers_of(
    backbone: LoadedBackbone, splits: Mapping[str, Split], rows: Mapping[str, np.ndarray], device: torch.device
) -> tuple[Mapping[str, int], dict[str, dict[str, Tensor]]]:
    """The width of each layer, and by split and layer the numbers [n, D] of the rows."""
    images = backbone.preprocess
    network = Layers(backbone.recipe, backbone.module, torch.zeros(1, images.channels, images.size, images.size))
    found = {}
    for name, split in splits.items():
        batches = encode_images(replace(backbone, module=network), split.images[rows[name]], device, TORCH)
        together = torch.from_numpy(np.concatenate([batch.features for batch in batches]))
        found[name] = dict(zip(network.widths, together.split(list(network.widths.values()), dim=1), strict=True))
    return network.widths, found
