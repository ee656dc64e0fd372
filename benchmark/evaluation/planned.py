"""A run that is not done yet as what names it, for lines that tell the runs of a grid apart."""

from __future__ import annotations

from dataclasses import dataclass

from ..records.answerer import Backbone, Method
from ..records.task import Task
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
    return Planned(
        method=plan.method_section,
        backbone=plan.backbone_section(),
        task=plan.task_section(),
        n_episodes=plan.config.episodes,
        level=plan.config.level,
        config_sha256=plan.config_sha256(),
    )
