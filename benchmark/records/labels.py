"""What runs are called: the one place that names them, so that runs which differ never read the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .answerer import ALL, Backbone, Method
from .identity import canonical_json, task_of
from .sections import Named
from .stages import NONE, stages_of
from .task_words import FINGERPRINT_DIGITS, plain, task_words, with_parameters

SINGLE = "single"  # the usual prompts
USUAL = {"tune": "none", "precision": "fp32", "compile": False, "views": None}  # of a backbone


@dataclass(frozen=True)
class Label:
    """What a run is called beside others.

    Attributes:
        method: with its parameters that are not their defaults in some of the runs, or that differ among them.
        backbone: likewise, with its weights where they differ.
        task: what of the tasks differs; "" where they are one.
        transductive: whether the method uses the queries together.
        complete: whether the run finished.
    """

    method: str
    backbone: str
    task: str
    transductive: bool
    complete: bool

    def __str__(self) -> str:
        """All in one line: `finetune (steps=5), conv4 (tune=norm); 1-shot (partial)`."""
        setting, task = ", transductive" if self.transductive else "", f"; {self.task}" if self.task else ""
        return f"{self.method}, {self.backbone}{setting}{task}{'' if self.complete else ' (partial)'}"


class Section(NamedTuple):
    """What a part of a label may say.

    Attributes:
        name: of the method or backbone.
        values: by name.
        departing: names of the values that are not usual.
        unsure: names of those that may be, as an old record does not know its defaults.
    """

    name: str
    values: Mapping[str, Any]
    departing: Collection[str]
    unsure: Collection[str]


# What tells runs apart that read the same otherwise: in which part of the label, under which name. The last never fails.
FURTHER: tuple[tuple[str, str, Callable[[Named], Any]], ...] = (
    ("backbone", "weights", lambda record: record.backbone.weights),
    ("backbone", "preprocess", lambda record: _preprocess(record.backbone)),
    ("method", "checkpoint", lambda record: _digits(record.method.learned_sha256)),
    ("backbone", "weights_sha256", lambda record: _digits(record.backbone.weights_sha256)),
    ("method", "class_names_sha256", lambda record: _text(record, "names_sha256")),
    ("method", "prompts_sha256", lambda record: _text(record, "prompts_sha256")),
    ("method", "choices_names_sha256", lambda record: _text(record, "choices_names_sha256")),
    ("method", "code", lambda record: record.method.code),
    ("backbone", "code", lambda record: record.backbone.code),
    ("task", "episodes", lambda record: record.n_episodes),
    ("task", "episodes_sha256", lambda record: _digits(record.task.episodes_sha256)),
    ("task", "level", lambda record: record.level),
    ("task", "record", lambda record: record.config_sha256[:8]),
)


def labels_of(records: Sequence[Named], told: Collection[str] = (), beside: Sequence[Hashable] = ()) -> list[Label]:
    """Name runs by what differs among them.

    A parameter is named in every run of a method or backbone where one of them departs from the default, or where they differ.

    Args:
        records: the runs at hand, done or planned.
        told: fields of `TaskKey` that are told elsewhere.
        beside: what stands beside each label, such as the cells of its row with pretraining and length; weights are then named
            only in labels that would read the same.

    Returns:
        A label for each run; two are equal only where the same record is given twice, or `told` and `beside` tell them apart.
    """
    backbones = [_backbone(record.backbone, with_weights=not beside) for record in records]
    tasks = task_words(list(map(task_of, records)), told)
    return _labels(records, [_method(record.method) for record in records], backbones, {}, tasks, beside, FURTHER)


def board_labels(records: Sequence[Named], trainings: Sequence[str], told_apart: bool = True) -> list[Label]:
    """Name the rows of a board, which says the tasks elsewhere.

    Backbones have short names. Settings that come with weights from elsewhere are named only where they differ. What a method
    may move (`--tune`) stands with the method, and so does what tells apart rows that read the same otherwise.

    Args:
        records: one for each row.
        trainings: what stands beside each backbone.
        told_apart: whether rows that read the same otherwise are told apart.
    """
    methods = [_with_tune(_method(record.method), record.backbone.tune) for record in records]
    backbones = [_backbone(record.backbone, with_weights=False, on_board=True) for record in records]
    names = _short({record.backbone.name for record in records})
    further = [("method", name, value_of) for _, name, value_of in FURTHER] if told_apart else []
    return _labels(records, methods, backbones, names, [""] * len(records), trainings, further)


def _labels(
    records: Sequence[Named],
    method_sections: Sequence[Section],
    backbone_sections: Sequence[Section],
    names: Mapping[str, str],
    task_texts: Sequence[str],
    beside: Sequence[Hashable],
    further: Iterable[tuple[str, str, Callable[[Named], Any]]],
) -> list[Label]:
    methods, backbones = _shown(method_sections), _shown(backbone_sections)
    tasks = [{"": words} for words in task_texts]
    said = {"method": methods, "backbone": backbones, "task": tasks}

    def labels() -> list[Label]:
        return [
            Label(
                with_parameters(record.method.name, methods[place]),
                with_parameters(names.get(record.backbone.name, record.backbone.name), backbones[place]),
                ", ".join(value if not name else f"{name} {plain(value)}" for name, value in tasks[place].items() if value),
                record.method.transductive,
                record.complete,
            )
            for place, record in enumerate(records)
        ]

    for part, name, value_of in further:
        alike: dict[Hashable, list[int]] = defaultdict(list)
        for place, label in enumerate(labels()):
            alike[label, tuple(beside[place : place + 1])].append(place)
        for places in alike.values():
            values = [value_of(records[place]) for place in places]
            if len(set(map(canonical_json, values))) > 1:
                for place, value in zip(places, values, strict=True):
                    said[part][place][name] = "none" if value is None else value
    return labels()


def label_of(record: Named) -> Label:
    """What a run alone is called."""
    return labels_of([record])[0]


def training_label(record: Named) -> str:
    """The training of the weights: `trained on mini-imagenet (simclr), meta-trained on cifar-fs`.

    A teacher of the pretraining is named: `trained on trifeature (distill, taught by clip on trifeature)`.
    """
    seen = record.backbone.pretraining
    if seen is not None and seen.external:
        return "external weights"
    stages = stages_of(record)
    before = seen
    while before is not None and before.meta_trained:
        before = before.started_from
    teacher = None if before is None else before.started_from
    taught = "" if teacher is None else f", taught by {teacher.recipe} on {teacher.dataset}"
    said = [] if before is None or stages.pretraining == NONE else [f"trained on {before.dataset} ({before.recipe}{taught})"]
    said += [f"meta-trained on {stages.trained_on}"] if stages.meta_trained else []
    return ", ".join(said) or "initial weights"


def _method(method: Method) -> Section:
    said = {} if method.text is None else {"prompts": method.text.prompts, "class_names": method.text.class_names}
    text = {name: value for name, value in said.items() if value is not None}
    unusual = [name for name, value in text.items() if value != SINGLE]
    features = {} if method.features is None else {"features": method.features}
    changed, unsure = _changed(method)
    return Section(method.name, {**method.parameters, **text, **features}, [*changed, *unusual, *features], unsure)


def _backbone(backbone: Backbone, with_weights: bool, on_board: bool = False) -> Section:
    values = {name: getattr(backbone, name) for name in USUAL if name != "tune" or not on_board}
    unusual = [name for name, value in values.items() if value != USUAL[name]]
    weights = {"weights": backbone.weights or "none"} if with_weights else {}
    of_elsewhere = on_board and backbone.pretraining is not None and backbone.pretraining.external
    changed, unsure = ((), ()) if of_elsewhere else _changed(backbone)
    return Section(backbone.name, {**backbone.parameters, **values, **weights}, [*changed, *unusual], unsure)


def _with_tune(method: Section, tune: str) -> Section:
    departing = [*method.departing, *(["tune"] if tune != USUAL["tune"] else [])]
    return method._replace(values={**method.values, "tune": tune}, departing=departing)


def _changed(section: Method | Backbone) -> tuple[Collection[str], Collection[str]]:
    """Names of the parameters that differ from their defaults, and of those of which nobody knows."""
    return ((), tuple(section.parameters)) if section.changed is ALL else (section.changed, ())


def _shown(sections: Sequence[Section]) -> list[dict[str, object]]:
    """The values to be shown of each section, by name; what sections of one name show is decided together."""
    shown: dict[str, set[str]] = defaultdict(set)
    kinds: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, values, departing, _ in sections:
        shown[name].update(departing)
        for key, value in values.items():
            kinds[name, key].add(canonical_json(value))
    for (name, key), different in kinds.items():
        if len(different) > 1:
            shown[name].add(key)
    return [
        {key: value for key, value in values.items() if key in shown[name] or key in unsure}
        for name, values, _, unsure in sections
    ]


def _short(names: Collection[str]) -> dict[str, str]:
    """Names without the library or file that they come from, where no two become the same."""
    short = {name: name.rpartition(":")[2] for name in names}
    times = Counter(short.values())
    return {name: one if times[one] == 1 else name for name, one in short.items()}


def _digits(sha256: str | None) -> str | None:
    return None if sha256 is None else sha256[:FINGERPRINT_DIGITS]


def _text(record: Named, name: str) -> str | None:
    return None if record.method.text is None else _digits(getattr(record.method.text, name))


def _preprocess(backbone: Backbone) -> str | None:
    found = backbone.preprocess
    if found is None:
        return None
    statistics = "; ".join(", ".join(f"{number:g}" for number in numbers) for numbers in (found.mean, found.std))
    return f"{found.channels} channels, {found.size} pixels, {statistics}"
