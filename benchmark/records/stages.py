"""The training stages of a run's network, from its record: P (pretrain), M (meta-train), F (fine-tune)."""

from __future__ import annotations

from dataclasses import dataclass

from .sections import Named

NONE = "none"
UNMOVED = ("none", "head")  # scopes of --tune that do not change the backbone
CHAINS = ("P", "P>M", "P>F", "P>M>F")


@dataclass(frozen=True)
class Stages:
    """The training of a backbone before it answered.

    Attributes:
        pretraining: recipe of P; "none" for initial weights.
        meta_trained: whether the backbone was trained on episodes.
        fine_tuned: scope of --tune that moved in each episode; "none" where nothing moved.
        trained_on: dataset of the last training; "none" where it is unknown.
        in_domain: whether the last training and the task share a dataset.
    """

    pretraining: str
    meta_trained: bool
    fine_tuned: str
    trained_on: str
    in_domain: bool

    @property
    def chain(self) -> str:
        """One of `CHAINS`; P stands for initial weights too (`pretraining` is then "none")."""
        return "P" + (">M" if self.meta_trained else "") + (">F" if self.fine_tuned != NONE else "")


def stages_of(record: Named) -> Stages:
    """Read the stages of a record."""
    seen = last = record.backbone.pretraining
    while last is not None and last.meta_trained:
        last = last.started_from
    tune, trained_on = record.backbone.tune, NONE if seen is None else seen.dataset
    return Stages(
        pretraining=NONE if last is None else last.recipe,
        meta_trained=seen is not None and seen.meta_trained,
        fine_tuned=NONE if tune in UNMOVED else tune,
        trained_on=trained_on,
        in_domain=trained_on == record.task.dataset,
    )
