"""What our runs found beside what the papers report.

Nothing is stored for it: it is read off the checkpoint's description, results/checkpoints/NAME.json, and the records of runs
with that very checkpoint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .. import registry
from ..records.record import RunRecord, file_safe, load_records
from .recipe import Evaluation, Recipe, load

Verdict = Literal["within", "above", "outside"]
LEVEL = 0.95  # of the published intervals, and of ours


@dataclass(frozen=True)
class Comparison:
    """One evaluation of a recipe; what was not run is None.

    Attributes:
        recipe: what should be reproduced.
        evaluation: which of its numbers.
        about: the checkpoint's description.
        record: of the run.
        path: of the record.
    """

    recipe: Recipe
    evaluation: Evaluation
    about: dict[str, Any] | None = None
    record: RunRecord | None = None
    path: Path | None = None

    @property
    def difference(self) -> float | None:
        """Our accuracy minus the published one, in percentage points."""
        if self.record is None or self.evaluation.published is None:
            return None
        return 100 * self.record.mean - self.evaluation.published

    @property
    def combined(self) -> float | None:
        """Half-width that the difference may have, in percentage points.

        The root of the sum of the squares of both intervals; ours alone where none was published.
        """
        if self.record is None or self.record.half_width is None:
            return None
        return math.hypot(100 * self.record.half_width, self.evaluation.interval or 0.0)

    @property
    def verdict(self) -> Verdict | None:
        """`within` the combined interval, `above` it, or `outside`, which is below."""
        difference, combined = self.difference, self.combined
        if difference is None or combined is None:
            return None
        return "within" if abs(difference) <= combined else "above" if difference > 0 else "outside"


def compare(recipe: Recipe, results: Path) -> list[Comparison]:
    """The evaluations of a recipe, as far as they were run.

    Args:
        recipe: whose checkpoint and records are looked for.
        results: folder of `checkpoints` and `records`.
    """
    about = description(recipe, results)
    if about is None:
        return [Comparison(recipe, evaluation) for evaluation in recipe.evaluations]
    names = {registry.find("datasets", dataset_of(recipe, evaluation)).name for evaluation in recipe.evaluations}
    found = [one for name in sorted(names) for one in load_records(results / "records" / file_safe(name))[0]]
    return [_comparison(recipe, evaluation, about, found) for evaluation in recipe.evaluations]


def dataset_of(recipe: Recipe, evaluation: Evaluation) -> str:
    """What an evaluation is on, as the recipe calls it."""
    return evaluation.dataset or recipe.train.dataset


def description(recipe: Recipe, results: Path) -> dict[str, Any] | None:
    """What lies beside the checkpoint of a recipe; None where there is none, or it is of another training."""
    about = _read(recipe.checkpoint(results), {"weights_sha256", "method", "pretraining", "made_by"})
    if about is None or not recipe.made(about):
        return None
    if recipe.pretrain is not None or recipe.after is not None:
        after = None if recipe.after is None else load(recipe.after)
        before = description_of_pretraining(recipe, results) if after is None else description(after, results)
        if before is None or before["weights_sha256"] != about["pretraining"]["started_from"]["weights_sha256"]:
            return None
    return about


def description_of_pretraining(recipe: Recipe, results: Path) -> dict[str, Any] | None:
    """What lies beside the weights that a recipe pretrains; None where there are none, or they are of another pretraining."""
    about = _read(recipe.pretrained(results), {"weights_sha256", "made_by"})
    return about if about is not None and recipe.made_before(about) else None


def _read(weights: Path, needed: set[str]) -> dict[str, Any] | None:
    """The description of a weights file, if it has what is needed."""
    try:
        about = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and needed <= about.keys() else None


def _comparison(
    recipe: Recipe, evaluation: Evaluation, about: dict[str, Any], found: Iterable[tuple[Path, RunRecord]]
) -> Comparison:
    dataset = registry.find("datasets", dataset_of(recipe, evaluation)).name
    fitting = [
        (path, record) for path, record in found if record.task["dataset"] == dataset and _is_of(record, evaluation, about)
    ]
    path, record = fitting[0] if fitting else (None, None)
    return Comparison(recipe, evaluation, about, record, path)


def _is_of(record: RunRecord, evaluation: Evaluation, about: dict[str, Any]) -> bool:
    """Whether a record is of this evaluation of this checkpoint."""
    task, backbone = record.task, record.backbone
    shape = {name: None if evaluation.varies else getattr(evaluation, name) for name in ("ways", "shots", "queries")}
    method = about["method"]
    return (
        record.complete
        and record.n_episodes == evaluation.episodes
        and record.accuracy["level"] == LEVEL
        and backbone["weights_sha256"] == about["weights_sha256"]
        and (backbone.get("precision", "fp32"), backbone.get("compile", False)) == ("fp32", False)
        and evaluation.tune in (None, backbone["tune"])
        and (task["split"], task["sampler"], task["seed"]) == ("test", evaluation.sampler, evaluation.seed)
        and task.get("corruption") is None
        and shape == {name: task[name] for name in shape}
        and record.method_name == method["name"]
        and record.method["parameters"] == {**method["parameters"], **evaluation.settings}
    )
