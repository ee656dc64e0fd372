"""The stages that a run's network went through, as its record tells them: P (pretrain), M (meta-train), F (fine-tune)."""

from __future__ import annotations

from dataclasses import dataclass

from ..records.record import RunRecord

NONE = "none"
UNMOVED = ("none", "head")  # scopes of --tune that leave the backbone as it is
CHAINS = ("P", "P>M", "P>F", "P>M>F")


@dataclass(frozen=True)
class Stages:
    """The training of a backbone before it answered.

    Attributes:
        pretraining: recipe of P; "none" where the weights were initial ones.
        meta_trained: whether it was trained on episodes.
        fine_tuned: what of it moved in each episode, a scope of --tune; "none" where nothing did.
        trained_on: dataset of the last training; "none" where it is not known.
        in_domain: whether that is the dataset of the task.
    """

    pretraining: str
    meta_trained: bool
    fine_tuned: str
    trained_on: str
    in_domain: bool

    @property
    def chain(self) -> str:
        """One of `CHAINS`; its P stands for initial weights too, of which `pretraining` says that they are."""
        return "P" + (">M" if self.meta_trained else "") + (">F" if self.fine_tuned != NONE else "")


def stages_of(record: RunRecord) -> Stages:
    """Read them off a record."""
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
