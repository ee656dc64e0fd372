"""A report on trainings that differ in their seed alone: how accurate they are, and how far their answers differ."""

from __future__ import annotations

from ..differences import Differences
from .content import Picture, Report, Section

TITLE = "Prediction difference"
TEXT = (
    "The trainings of a row differ in their seed alone. Accuracy is the mean over trainings. "
    "The relative prediction difference is the mean distance of the trainings' probabilities of the true class from their own "
    "mean, as a share of that mean (Shamir, Lin and Coviello 2020, arXiv:2010.09931); where scores are no probabilities, their "
    "softmax stands in. Churn is the share of queries that two trainings answer with different classes. Small is good in both, "
    "but the relative prediction difference grows with the confidence, the mean probability of the classes answered. "
    "The intervals are about other trainings, on the same episodes; those of the differences leave out each training in turn."
)


def difference_report(differences: Differences) -> Report:
    """The report of differences."""
    picture = Picture("difference", f"{TITLE} against accuracy", differences.drawn())
    section = Section(TITLE, [TEXT], [picture], [differences.table])
    trainings = sum(len(one.trainings.seeds) for one in differences.found)
    return Report(TITLE, f"{trainings} trainings by {len(differences.found)} recipes.", [section])
