"""The engine: runs methods on tasks, keeps records, makes the leaderboard.

from fewbench.benchmark import RunConfig, run
record = run(RunConfig(method="protonet", shots=1))
print(record.mean, record.half_width)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.heap import keep_heap
from ..core.progress import SILENT, Progress
from .config import RunConfig

if TYPE_CHECKING:
    from torch import nn

    from ..tasks.datasets.base import Dataset
    from .records.record import RunRecord

__all__ = ["Dataset", "RunConfig", "run"]


def __getattr__(name: str) -> Any:
    """`Dataset`, which takes a while to import, when somebody asks for it."""
    if name != "Dataset":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from ..tasks.datasets.base import Dataset

    return Dataset


def run(
    config: RunConfig,
    progress: Progress = SILENT,
    *,
    dataset: Dataset | None = None,
    backbone: nn.Module | None = None,
) -> RunRecord:
    """Evaluate one method on one task and write its record; a finished run is read instead of repeated.

    Args:
        config: what to run.
        progress: told of long work; silent by default.
        dataset: in place of the one that the config names, such as `Dataset.from_arrays(images, labels)`.
        backbone: the same: a network with its weights, float [B, 3, H, W] → features [B, D]. Its images have 84 pixels, and the
            mean and deviation of ImageNet; settings of the config (backbone.size, backbone.mean, backbone.std) say others.

    Returns:
        The record, complete (or partial, with `limit`).

    Raises:
        UserError: anything the caller can mend, in one line.
    """
    keep_heap()
    from .evaluation.runner import run as run_now  # torch is imported only when something runs

    return run_now(_with_given(config, dataset, backbone), progress).record


def _with_given(config: RunConfig, dataset: Dataset | None, backbone: nn.Module | None) -> RunConfig:
    """The config with the names under which a dataset and a backbone are registered."""
    from . import registry

    if dataset is not None:
        name = registry.give("datasets", dataset.name, type(dataset))
        changed = {f"dataset.{key}": value for key, value in dataset.changed_parameters().items()}
        config = replace(config, dataset=name, settings={**changed, **config.settings})
    if backbone is not None:
        from .backbones.given import backbone_of

        name = registry.give("backbones", f"module:{type(backbone).__name__}", backbone_of(backbone))
        config = replace(config, backbone=name)
    return config
