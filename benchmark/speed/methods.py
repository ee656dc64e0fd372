"""How many episodes a second each method classifies, from features in memory: drawn, looked up, classified and scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from ...methods.base import Method
from ...tasks.samplers import UniformSampler
from .. import registry
from ..built_in import BUILT_IN
from ..evaluation.evaluate import Evaluator
from ..evaluation.source import Source
from ..features.table import FeatureTable
from .rates import LONG_ENOUGH, seconds

CLASSES, IMAGES, WIDTH = 20, 600, 640  # of the table
WAYS, SHOTS, QUERIES = 5, 1, 15
MOST = 4096  # episodes of a measurement, at most
CPU = torch.device("cpu")


def made_up_features() -> np.ndarray:
    """float32 [classes × images, width], the rows of a class together. A tenth of the variance lies between the classes."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLASSES, 1, WIDTH)) / 3
    return (centres + random.normal(size=(CLASSES, IMAGES, WIDTH))).reshape(-1, WIDTH).astype(np.float32)


def made_up_source(features: np.ndarray) -> Source:
    """The table as a run holds it."""
    table, offsets = FeatureTable.of(features, CPU), np.arange(CLASSES + 1) * (len(features) // CLASSES)
    return Source(CPU, table, train_mean=torch.from_numpy(features.mean(axis=0)), train_classes=table.by_class(offsets))


def methods_on_features() -> dict[str, Method]:
    """The built-in methods that need no training, images or text tower; a parameter that is "auto" has its first value."""
    found = {}
    for name in sorted(name for name in BUILT_IN["methods"] if not name.endswith(":NAME")):
        method: Method = registry.make("methods", name, {})
        if not (method.uses_text_tower or method.inputs != "features" or method.needs_training):
            settings = {auto: method.choices[auto][0] for auto in method.undecided_with("none")}
            found[name] = registry.make("methods", name, settings)
    return found


def episodes_a_second(method: Method, source: Source, shots: int = SHOTS, least: float = LONG_ENOUGH) -> float:
    """Episodes a second of a method.

    Args:
        method: on features, not to be trained.
        source: as `made_up_source` makes it.
        shots: of the episodes, 5-way with 15 queries a class.
        least: seconds of the measurement.
    """
    sampler = UniformSampler(np.arange(CLASSES + 1) * IMAGES, seed=0, ways=WAYS, shots=shots, queries=QUERIES)
    learned = method.learned_part(nn.Identity(), WIDTH, WAYS, torch.Generator().manual_seed(0))
    text = nn.functional.normalize(torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(1)), dim=-1)
    source = replace(source, text=text, tune="head" if method.adapts else "none", learned=learned)
    evaluator = Evaluator(method, source, "timed")

    def evaluate(episodes: int) -> None:
        for _ in evaluator.chunks(sampler.batches(0, episodes)):
            pass

    episodes, found = 0, 0.0
    for asked in (64, 512, MOST):  # more, while they take no longer than was asked for
        if episodes and asked / found > least:
            break
        episodes = asked
        found = episodes / seconds(lambda n=episodes: evaluate(n), 0).wall
    return found
