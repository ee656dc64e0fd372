"""The pipeline files of docs/ablation.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewbench.benchmark.pipeline import checks
from fewbench.benchmark.pipeline.reading import read_pipeline
from fewbench.benchmark.pipeline.stages import PipelineRun
from fewbench.tasks.datasets.base import Dataset
from fewbench.tasks.datasets.split import Split

FILES = sorted((Path(__file__).parents[2] / "docs" / "ablation").glob("*.toml"))
STAGES = [file for file in FILES if file.stem != "scopes"]  # that one is about what may move in F


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_of_the_ablation_can_be_carried_out(file: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the datasets are prepared: neither Omniglot nor mini-ImageNet is on every machine that runs this."""

    def prepared(dataset: Dataset, split: str) -> Split:
        ids, names = zip(*dataset.class_list(split), strict=True)
        images = np.zeros((20 * len(ids), 1, 1, 1), dtype=np.uint8)
        return Split(dataset.name, split, images, 20 * np.arange(len(ids) + 1), ids, names, fingerprint="")

    monkeypatch.setattr(checks, "preview", prepared)
    checks.check(read_pipeline(file, "pmf"))


def fine_tuning(run: PipelineRun) -> dict[str, Any]:
    """What decides its result: how episodes are computed together does not."""
    return {name: value for name, value in run.config.settings.items() if name != "parallel"}


def test_the_ablation_has_every_cell_and_its_files_differ_in_nothing_but_the_rate_of_meta_training():
    pipelines = {file.stem: read_pipeline(file, "pmf") for file in STAGES}
    assert len(pipelines) == 12
    cells, trainings, runs = set(), set(), set()
    for pipeline in pipelines.values():
        assert pipeline.pretrain is not None and pipeline.train is not None
        recipe = pipeline.pretrain.recipe if pipeline.pretrain.epochs else "none"
        cells.add((pipeline.pretrain.backbone, pipeline.pretrain.dataset, recipe))
        assert pipeline.train.learning_rate == (1e-3 if recipe == "none" else 3e-4)
        alike = {"backbone": "conv4", "dataset": "omniglot", "learning_rate": None}
        trainings.add(str(replace(pipeline.train, **alike)))
        runs.add(
            frozenset(
                (run.after, run.config.dataset, run.config.shots, run.config.tune, str(sorted(fine_tuning(run).items())))
                for run in pipeline.runs
            )
        )
    datasets = ("trifeature", "omniglot")
    assert cells == {(b, d, p) for b in ("conv4", "vit") for d in datasets for p in ("none", "supervised", "simclr")}
    assert len(trainings) == 1
    assert len(runs) == 1 and len(*runs) == 2 * 3 * 2 * 2  # stages before, datasets, shots, fine-tuned or not
