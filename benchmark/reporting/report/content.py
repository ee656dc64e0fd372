"""A report as sections of paragraphs, tables and pictures, whatever form it is written in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...records.labels import labels_of
from ...records.statistics import in_percent
from ...records.task_words import task_label
from ..figures.episode import draw_episode
from ..markdown import Table
from . import figures, measures
from .subject import Subject, distances_of

MOST_ROWS = 2000  # classes of a table
MOST_DRAWN = 25  # classes of a figure, and of a table that is not folded
PAIRS, PICTURES = 10, 3
LARGEST, WIDEST = 1_500_000, 2400  # bytes and pixels of a picture; one with more is made smaller


@dataclass(frozen=True)
class Picture:
    """A picture: its name in files, its caption, and a file's content of a form (svg, png or jpeg)."""

    name: str
    caption: str
    content: bytes
    form: str = "svg"


@dataclass
class Section:
    """A part of a report."""

    title: str
    texts: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    wide: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """A report: its title, a sentence below it, and its sections."""

    title: str
    lead: str
    sections: list[Section]


def report_of(subjects: Sequence[Subject]) -> Report:
    """The report of runs on the same images."""
    runs = _names(subjects)
    worst = [measures.worst_of(one.found, one.record.accuracies, len(one.classes)) for one in subjects]
    sections = [
        _summary(subjects, runs, worst),
        _classes(subjects, runs),
        _confusions(subjects, runs),
        _calibration(subjects, runs),
        _hardness(subjects, runs),
        *(
            _worst(one, _beside("The worst tenth", run, runs), found, len(subjects))
            for one, run, found in zip(subjects, runs, worst, strict=True)
        ),
    ]
    answers = sum(len(one.found.row) for one in subjects)
    tasks = list(dict.fromkeys(task_label(one.record) for one in subjects))
    title = ", ".join(runs) if len(runs) < 4 else f"{len(runs)} runs"
    return Report(title, f"{'; '.join(tasks)}: {answers:,} answers.", sections)


def _names(subjects: Sequence[Subject]) -> list[str]:
    names = list(map(str, labels_of([one.record for one in subjects])))
    return [name if names.count(name) == 1 else f"{place}: {name}" for place, name in enumerate(names, 1)]


def _beside(caption: str, run: str, runs: Sequence[str]) -> str:
    """A caption, with the run where there are several."""
    return caption if len(runs) == 1 else f"{caption}: {run}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _summary(subjects: Sequence[Subject], runs: list[str], worst: list[measures.Worst]) -> Section:
    rows = []
    for one, run, of_worst in zip(subjects, runs, worst, strict=True):
        record, calibration = one.record, measures.calibration_of(one.found)
        ties = np.count_nonzero(one.found.ties > 1)
        rows.append((
            run, in_percent(record.mean, record.half_width, record.n_episodes), _percent(of_worst.mean),
            _percent(calibration.error) + (" (softmax)" if _by_softmax(one) else ""), f"{ties:,}", str(one.path),
        ))  # fmt: skip
    heads = ("run", "accuracy (%)", "worst tenth of the episodes (%)", "calibration error (%)", "tied answers", "record")
    text = (
        "Accuracies are means over episodes with their intervals. A tied answer, one of several classes with the same score, "
        "counts as its share in accuracies and as the first of the tied classes in confusions."
    )
    return Section("Summary", [text], tables=[Table(heads, rows, (False, True, True, True, True, False))])


def _classes(subjects: Sequence[Subject], runs: list[str]) -> Section:
    names = subjects[0].classes
    found = [measures.of_classes(one.found, len(names), one.record.level) for one in subjects]
    means = np.array([[np.nan if one is None else one.mean for one in of_run] for of_run in found])
    asked = np.flatnonzero(~np.isnan(means).all(axis=0))
    order = [int(place) for place in asked[np.argsort(np.nanmean(means[:, asked], axis=0), kind="stable")]]
    shown, drawn = order[:MOST_ROWS], order[:MOST_DRAWN]
    taken = [one.confusions for one in subjects]
    heads = ("class", *(f"{run} (%)" if len(runs) > 1 else "accuracy (%)" for run in runs), "most often taken for")
    rows = []
    for place in shown:
        cells = [of_run[place] for of_run in found]
        others = [one.taken_for(place) for one in taken if one is not None]
        words = list(dict.fromkeys(names[other] for other in others if other is not None))
        accuracies = ("" if one is None else in_percent(one.mean, one.half_width, one.n) for one in cells)
        rows.append((names[place], *accuracies, ", ".join(words)))
    text = (
        "The hardest classes come first. An interval is over the episodes that ask for the class, since the queries of one "
        "episode share their support."
    )
    folded = "" if len(order) <= MOST_DRAWN else f"{len(shown):,} of {len(order):,} classes"
    picture = figures.draw_classes(
        [names[place] for place in drawn], [[of_run[place] for place in drawn] for of_run in found], runs, _methods(subjects)
    )
    caption = "Accuracy of each class" if len(drawn) == len(order) else f"Accuracy of the {len(drawn)} hardest classes"
    numeric = (False, *(True for _ in runs), False)
    return Section("Classes", [text], [Picture("classes", caption, picture)], [Table(heads, rows, numeric, folded)])


def _methods(subjects: Sequence[Subject]) -> list[str]:
    return [one.record.method.name for one in subjects]


def _confusions(subjects: Sequence[Subject], runs: list[str]) -> Section:
    section = Section("Confusions")
    distances = distances_of(subjects[0])
    counted = [(one, run, one.confusions) for one, run in zip(subjects, runs, strict=True)]
    known = [(one, run, found) for one, run, found in counted if found is not None and found.taken.any()]
    if not known:
        section.texts.append("There are no confusions, or too many classes to count their pairs.")
        return section
    section.texts.append(
        "The share of queries of a class that were answered with another class, among the episodes that have both; "
        f"pairs with fewer than {measures.FEWEST} such episodes are left out."
    )
    if distances is None:
        section.texts.append("The dataset has no taxonomy, so that nothing is said about the distance of the classes.")
    else:
        for _, run, found in known:
            if (related := measures.rank_correlation(found, distances)) is not None:
                correlation = f"{related[0]:+.2f}".replace("-", "−")
                section.texts.append(
                    f"{run}: the rank correlation of confusion with the Jiang-Conrath distance of two classes is {correlation} "
                    f"over {related[1]:,} ordered pairs. At −1, the nearer pair is always confused more."
                )
        groups = [measures.by_distance(found, distances) for _, _, found in known]
        picture = figures.draw_distances(groups, [run for _, run, _ in known], _methods([one for one, _, _ in known]))
        section.pictures.append(Picture("distances", "Confusion against the distance of the classes", picture))
    names = subjects[0].classes
    for _, run, found in known:
        heads = ("class" if len(known) == 1 else f"class, {run}", "taken for", "share (%)", "queries")
        rows = [
            (names[true], names[other], _percent(found.share[true, other]), f"{found.asked[true, other]:,}")
            + (() if distances is None else (f"{distances[true, other]:.2f}",))
            for true, other in found.most(PAIRS)
        ]
        last = () if distances is None else ("distance",)
        section.tables.append(Table((*heads, *last), rows, (False, False, True, True, *(True for _ in last))))
    return section


def _by_softmax(one: Subject) -> bool:
    """Whether confidences are those of a softmax, since the scores are no probabilities."""
    return one.record.predictions is not None and one.record.predictions.confidence == "softmax"


def _calibration(subjects: Sequence[Subject], runs: list[str]) -> Section:
    section = Section("Calibration")
    section.texts.append(
        f"The expected calibration error is the mean distance of accuracy and confidence over {measures.BINS} bins of "
        "confidence, each with the weight of its answers (Guo et al. 2017, arXiv:1706.04599)."
    )
    for one, run in zip(subjects, runs, strict=True):
        found = measures.calibration_of(one.found)
        what = (
            "its scores are no probabilities, and their softmax stands in, as it does in cross-entropy; only the order of the "
            "scores counts for accuracy"
            if _by_softmax(one)
            else "its scores are probabilities"
        )
        confidence = float(one.found.confidence.mean(dtype=np.float64))
        section.texts.append(
            f"{run}: error {_percent(found.error)} %, mean confidence {_percent(confidence)} %, "
            f"accuracy {_percent(float(one.found.credit.mean()))} % of all queries; {what}."
        )
        section.pictures.append(Picture("reliability", _beside("Reliability", run, runs), figures.draw_reliability(found)))
    return section


def _hardness(subjects: Sequence[Subject], runs: list[str]) -> Section:
    section = Section("Visual hardness")
    section.texts.append(
        "The angular visual hardness of a query is the angle between its feature and its own class, as a share of the sum of "
        "its angles to all classes of the episode (Chen et al. 2020, arXiv:1912.02279). A class is the mean of its support "
        "features here, by the backbone as it is before a method adapts it."
    )
    for one, run in zip(subjects, runs, strict=True):
        if (apart := measures.told_apart(one.hardness, one.right)) is not None:
            section.texts.append(
                f"{run}: a query with a wrong answer is harder than one with a right answer in {_percent(apart)} % of all such "
                "pairs; 50 % would say that hardness tells nothing."
            )
        caption = _beside("Right and wrong answers", run, runs)
        section.pictures.append(Picture("hardness", caption, figures.draw_hardness(one.hardness, one.right)))
    groups = [measures.by_hardness(one.hardness, one.found.credit) for one in subjects]
    picture = figures.draw_by_hardness(groups, runs, _methods(subjects))
    section.pictures.insert(0, Picture("by-hardness", "Accuracy against hardness, in tenths of the queries", picture))
    return section


def _worst(one: Subject, title: str, found: measures.Worst, of: int) -> Section:
    accuracies = one.record.accuracies
    limit = float(accuracies[found.episodes].max())
    texts = [
        f"{len(found.episodes):,} of {len(accuracies):,} episodes, with accuracies up to {_percent(limit)} %; their mean is "
        f"{_percent(found.mean)} %, and that of all episodes {_percent(one.record.mean)} %."
    ]
    rows = [(one.classes[place], _percent(here), _percent(everywhere)) for place, here, everywhere in found.classes]
    heads = ("class", "in the worst tenth (%)", "in all episodes (%)")
    tables = [Table(heads, rows, (False, True, True))] if rows else []
    texts.append(
        "The table has the classes that are in more of them than of all episodes. Then come the hardest: support on the left, "
        "queries on the right. Green frames are right answers, red ones wrong "
        "(the predicted class stands below), orange ones ties."
    )
    pictures = []
    for index in found.episodes[: PICTURES if of == 1 else 1].tolist():
        episode, answers = one.answered(index)
        caption = f"Episode {index}, accuracy {_percent(float(accuracies[index]))} %"
        png = draw_episode(one.task.split, episode, [f"{one.record.task.dataset}, {caption[0].lower()}{caption[1:]}"], answers)
        pictures.append(Picture(f"episode-{index}", caption, *_small(png)))
    return Section(title, texts, tables=tables, wide=pictures)


def _small(png: bytes) -> tuple[bytes, str]:
    """A picture that a page can hold, and its form: a large one is scaled down and written as JPEG."""
    if len(png) <= LARGEST:
        return png, "png"
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((WIDEST, WIDEST))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), "jpeg"
