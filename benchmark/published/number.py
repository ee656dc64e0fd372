"""A published number: an accuracy that a paper or a page prints, with its task and its source."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, cast, get_args

from ...core.errors import did_you_mean
from ..built_in import BUILT_IN

Setting = Literal["inductive", "transductive", "semi-supervised", "zero-shot"]
Kind = Literal["paper", "quoted", "rerun"]
Words = Literal["all", "varying"]

KINDS: dict[Kind, str] = {
    "paper": "the authors' own number",
    "quoted": "the number of another paper, as a source repeats it",
    "rerun": "another's method, run by the source",
}
WHOLE_TEST_SET = "whole-test-set"  # in the place of a sampler: all test images of all classes, and no episodes
NOT_STATED = "not-stated"  # a name that the source does not give
AT_MOST = "up-to-"  # begins the name of a backbone of which the source gives the size alone
FROM_THE_DATASET = ("train-classes", "train-and-val-classes", "train-classes-self-supervised")  # pretraining
OF_META_DATASET = ("meta-dataset", "meta-dataset-imagenet")  # the benchmark's own training data
SLUG = re.compile(r"[a-z0-9]+(?:[-+][a-z0-9]+)*\+*")
SOURCE = re.compile(r"https?://\S+|[\w.-]+/[\w.-]+@[0-9a-f]{40}:\S.*")


class Task(NamedTuple):
    """What two numbers have in common that can be compared.

    Attributes:
        dataset: its name.
        sampler: uniform, imbalanced, meta-dataset or whole-test-set.
        ways: classes of an episode; `all`: those of the dataset; `varying`.
        shots: support images of a class; `varying`.
    """

    dataset: str
    sampler: str
    ways: int | Words
    shots: int | Words

    def __str__(self) -> str:
        """In words, without the dataset: `5-way 1-shot`."""
        if self.ways == "varying":
            return "varying ways and shots"
        shape = f"{self.ways}-way {self.shots}-shot"
        return f"{shape}, {self.sampler}" if self.sampler == "imbalanced" else shape


@dataclass(frozen=True)
class PublishedNumber:
    """A row of the table. Names are ours where we have the thing, and otherwise the source's in small letters and dashes.

    Attributes:
        method: name of the method.
        backbone: name of the backbone; a width is in `printed_backbone` alone.
        pretraining: what the backbone has seen, such as train-classes (of the dataset) or imagenet-dino.
        task: dataset, sampler, ways and shots.
        queries: query images of a class; None where the source does not say.
        accuracy: percent.
        half_width: of the 95 % interval, percentage points; None where the source gives none.
        setting: what the method may use beside the support.
        kind: a key of `KINDS`.
        protocol: what differs from the usual, in words; "" for nothing.
        paper: arXiv number, or the venue; "" where unknown.
        table: place in the source.
        source: address, or `owner/repository@commit:path`.
        printed: the accuracy with its half-width, and as many decimals as the source gives.
        printed_method: as the source spells it.
        printed_backbone: likewise.
        printed_pretraining: likewise.
        printed_dataset: likewise; another dataset than `task.dataset` is a slip of the source.
    """

    method: str
    backbone: str
    pretraining: str
    task: Task
    queries: int | None
    accuracy: float
    half_width: float | None
    setting: Setting
    kind: Kind
    protocol: str
    paper: str
    table: str
    source: str
    printed: str
    printed_method: str
    printed_backbone: str
    printed_pretraining: str
    printed_dataset: str

    @property
    def external(self) -> bool:
        """Whether the backbone has seen data from outside of the dataset's train and val classes."""
        return self.pretraining not in (*FROM_THE_DATASET, *OF_META_DATASET)

    @property
    def backbone_stated(self) -> bool:
        """Whether the source names the backbone."""
        return self.backbone != NOT_STATED and not self.backbone.startswith(AT_MOST)

    @property
    def key(self) -> tuple[object, ...]:
        """What no two rows have in common."""
        names = (self.method, self.backbone, self.pretraining, self.task, self.queries, self.setting, self.kind)
        return (*names, self.protocol, self.paper, self.source)

    @classmethod
    def of(cls, row: Mapping[str, str]) -> PublishedNumber:
        """Read a row, by the names of its columns.

        Raises:
            ValueError: a value is missing or out of its range, or a name is spelled otherwise than ours.
        """
        sampler = _one_of("sampler", row["sampler"], [*BUILT_IN["samplers"], WHOLE_TEST_SET])
        ways, shots = _count_or_word("ways", row["ways"], least=2), _count_or_word("shots", row["shots"], least=0)
        if (ways == "all") != (sampler == WHOLE_TEST_SET) or (ways == "varying") != (sampler == "meta-dataset"):
            raise ValueError(f"ways {ways} do not go with sampler {sampler}")
        if not SOURCE.fullmatch(row["source"]):
            raise ValueError(f"source '{row['source']}' is neither an address nor owner/repository@commit:path")
        setting, kind = _one_of("setting", row["setting"], get_args(Setting)), _one_of("kind", row["kind"], KINDS)
        if setting == "zero-shot" and shots != 0:
            raise ValueError(f"setting zero-shot does not go with {shots} shots")
        half_width = row["half_width"]
        return cls(
            _name("method", row["method"]),
            _name("backbone", row["backbone"]),
            _slug("pretraining", row["pretraining"]),
            Task(_name("dataset", row["dataset"]), sampler, ways, shots),
            _count("queries", row["queries"], least=1) if row["queries"] else None,
            _percent("accuracy", row["accuracy"]),
            _percent("half_width", half_width) if half_width else None,
            cast(Setting, setting),
            cast(Kind, kind),
            row["protocol"],
            row["paper"],
            row["table"],
            row["source"],
            f"{row['accuracy']} ± {half_width}" if half_width else row["accuracy"],
            **{name: row[name] for name in row if name.startswith("printed_")},
        )


def _one_of(column: str, text: str, known: Collection[str]) -> str:
    if text not in known:
        raise ValueError(f"unknown {column} '{text}'; {did_you_mean(text, known)}")
    return text


def _count(column: str, text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{column} '{text}' is not a whole number of at least {least}")
    return int(text)


def _count_or_word(column: str, text: str, least: int) -> int | Words:
    return cast(Words, text) if text in get_args(Words) else _count(column, text, least)


def _percent(column: str, text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not 0 < float(text) <= 100:
        raise ValueError(f"{column} '{text}' is not a number of percent between 0 and 100")
    return float(text)


def _slug(column: str, text: str) -> str:
    if not SLUG.fullmatch(text):
        raise ValueError(f"{column} '{text}' has more than small letters, digits, dashes and plus signs")
    return text


def _name(column: str, text: str) -> str:
    """A name of ours, or one that nobody takes for ours."""
    known = BUILT_IN[f"{column}s"]
    family, colon, _ = text.partition(":")
    if text in known or (colon and f"{family}:NAME" in known):
        return text
    ours = _by_letters(column).get(_letters(text))
    if ours is not None:
        raise ValueError(f"{column} '{text}' is called '{ours}' here")
    return _slug(column, text)


@cache
def _by_letters(column: str) -> dict[str, str]:
    return {_letters(name): name for name in BUILT_IN[f"{column}s"]}


def _letters(name: str) -> str:
    """A name without its punctuation, except for plus signs: baseline and baseline++ are two methods."""
    return re.sub(r"[^a-z0-9+]", "", name.lower())
