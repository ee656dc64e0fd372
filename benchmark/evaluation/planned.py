"""A run that is not done yet as what names it, for lines that tell the runs of a grid apart."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.decoding import decode
from ..records.answerer import Backbone, Method
from ..records.task import Corrupted, Task
from .plan import Plan

UNSEEN = ("fingerprint",)  # fields of a task that no plan knows


@dataclass(frozen=True)
class Planned:
    """A plan's sections as a record will have them, without what only the images and episodes say."""

    method: Method
    backbone: Backbone
    task: Task
    n_episodes: int
    level: float
    config_sha256: str
    complete: bool = True


def planned(plan: Plan) -> Planned:
    """The run of a plan."""
    config, corruption = plan.config, plan.config.corrupted_by
    shape = plan.sampling.shape
    task = Task(
        dataset=plan.dataset_name,
        dataset_version=plan.dataset.version,
        dataset_parameters=plan.dataset.recorded_parameters(),
        fingerprint="",
        split=config.split,
        sampler=config.sampler,
        sampler_parameters=plan.sampling.parameters,
        ways=shape["ways"],
        shots=shape["shots"],
        queries=shape["queries"],
        seed=config.seed,
        episodes_sha256="",
        corruption=None if corruption is None else Corrupted(corruption.name, corruption.severity, 0, ""),
    )
    return Planned(
        method=decode(Method, plan.method_section),
        backbone=decode(Backbone, plan.backbone_section()),
        task=task,
        n_episodes=config.episodes,
        level=config.level,
        config_sha256=plan.config_sha256(),
    )
