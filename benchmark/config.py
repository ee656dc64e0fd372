"""What a user asks for, before anything is looked up: `RunConfig`, its checks, TOML files and grids."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.option_tables import options_of, read_table
from ..tasks.corruptions import SEVERITIES, STRENGTHS, Corruption

# Options of which several values make a grid.
GRID = frozenset(
    "method ways shots queries dataset split sampler backbone weights checkpoint tune prompts corruption severity seed".split()
)
SCOPES = ("dataset", "backbone", "sampler")  # `--set backbone.width=32`; a name without a scope is the method's


@dataclass(frozen=True)
class RunConfig:
    """One evaluation: one method on one task with one backbone.

    Attributes:
        method: a registered name, `file.py:Class`, or `sklearn:module.Class`.
        ways: classes an episode.
        shots: support images a class.
        queries: query images a class.
        episodes: how many episodes.
        dataset: a registered name.
        split: class split the episodes come from: train, val or test.
        sampler: uniform, semantic, imbalanced or meta-dataset (varying ways and shots).
        testbed: file with a fixed list of tasks, used instead of a sampler; it says ways, shots and queries.
        corruption: what is done to support and query images: noise, blur, jpeg, grey, occlusion or contrast; with a severity.
        severity: of the corruption, 1 to 5.
        backbone: a registered name; None: clip-tiny for methods that use text, conv4 for all others.
        weights: name of shipped weights or a file; None takes those pretrained on the dataset's train classes.
        checkpoint: file of `bench train`, with backbone and all that the method learned; says the backbone and weights.
        tune: what an adapting method may move: none, norm, head, last-block, lora, prompt, prompt-pool or full; None: head for
            those, none for others.
        prompts: what class names are put into, for methods that use text: single, ensemble, another known set, or a file;
            None: single.
        class_names: CSV file with the columns class_id and name, instead of the dataset's names.
        batch_size: images encoded at once; None finds a number that fits.
        precision: of encoding: fp32, tf32, bf16 or fp16.
        compile: encode through torch.compile.
        seed: of the task; 0 ≤ seed < 2⁶⁴.
        settings: parameters as name → value; `dataset.`, `backbone.` or `sampler.` before a name says whose, else the method's.
        device: auto, cpu or cuda (or cuda:1, …).
        output: results folder.
        overwrite: repeat a finished run.
        limit: stop after so many episodes and keep a partial record, which is not shown on the leaderboard.
        level: confidence level of the intervals.
        bootstrap: also give the percentile bootstrap interval.
    """

    method: str = "protonet"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    episodes: int = 10_000
    dataset: str = "trifeature"
    split: str = "test"
    sampler: str = "uniform"
    testbed: Path | None = None
    corruption: str | None = None
    severity: int | None = None
    backbone: str | None = None
    weights: str | None = None
    checkpoint: str | None = None
    tune: str | None = None
    prompts: str | None = None
    class_names: Path | None = None
    batch_size: int | None = None
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    output: Path = Path("results")
    overwrite: bool = False
    limit: int | None = None
    level: float = 0.95
    bootstrap: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no task could have.

        Raises:
            UsageError: one line that names the option.
        """
        object.__setattr__(self, "output", Path(self.output))  # a script may give text
        for option, least in (("ways", 2), ("shots", 1), ("queries", 1), ("episodes", 1), ("limit", 1)):
            value = getattr(self, option)
            if value is None and option == "limit":
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise UsageError(f"--{option} {value}: not a whole number")
            if value < least:
                raise UsageError(f"--{option} {value}: at least {least}")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"--seed {self.seed}: a seed is a whole number from 0 to 2^64 - 1")
        if not 0 < self.level < 1:
            raise UsageError(f"--level {self.level}: between 0 and 1, for example 0.95")
        if self.severity is not None and self.corruption is None:
            raise UsageError(f"--severity {self.severity}: of what? add --corruption {', '.join(STRENGTHS)}")
        if self.corruption is not None and self.severity is None:
            raise UsageError(f"--corruption {self.corruption}: how much? add --severity {', '.join(map(str, SEVERITIES))}")
        _ = self.corrupted_by  # which checks name and severity

    @property
    def corrupted_by(self) -> Corruption | None:
        """What is done to the images of the episodes; None: nothing."""
        return None if self.corruption is None or self.severity is None else Corruption(self.corruption, self.severity)

    def settings_of(self, scope: str) -> dict[str, Any]:
        """The parameters meant for the dataset, backbone or sampler; for scope "method" those without a scope."""
        chosen = {}
        for key, value in self.settings.items():
            head, dot, tail = key.partition(".")
            if dot and head in SCOPES:
                if head == scope:
                    chosen[tail] = value
            elif scope == "method":
                chosen[key] = value
        return chosen


def grid(options: Mapping[str, Any]) -> list[RunConfig]:
    """One config for each combination of the options that hold a list; the last such option varies fastest.

    Raises:
        UsageError: such a list is empty, or there is no such combination.
    """
    several = {name: value for name, value in options.items() if isinstance(value, list | tuple)}
    fixed = {name: value for name, value in options.items() if name not in several}
    if empty := [name for name, values in several.items() if not values]:
        raise UsageError(f"{empty[0]} = []: nothing to run")
    return [
        RunConfig(**fixed, **dict(zip(several, values, strict=True)))
        for values in itertools.product(*(dict.fromkeys(value) for value in several.values()))
    ]


def read_toml(path: Path) -> dict[str, Any]:
    """Options from a TOML file: keys as the options of `bench run`, parameters in a table `[set]`.

    Raises:
        UsageError: no such file, not TOML, an unknown key, or a value of the wrong type.
    """
    where = f"--config {path}"
    return options_of(read_table(path, where), RunConfig, where, GRID)


def typed(name: str, values: Sequence[Any]) -> list[int]:
    """Whole numbers from an option that takes several (`--shots 1,5 --shots 10`).

    Raises:
        UsageError: one is no whole number.
    """
    numbers = []
    for text in itertools.chain.from_iterable(str(value).split(",") for value in values):
        try:
            numbers.append(int(text))
        except ValueError:
            raise UsageError(f"--{name} {text}: not a whole number") from None
    return numbers
