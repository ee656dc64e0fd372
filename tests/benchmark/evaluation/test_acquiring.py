"""Runs in which images without a label get one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from fewbench.benchmark import RunConfig, run
from fewbench.benchmark.evaluation.replay import config_of, replay
from fewbench.benchmark.records.identity import task_of
from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT
from fewbench.methods.metric.protonet import ProtoNet

RULES = ("random", "margin", "entropy", "coreset", "typiclust")


@pytest.fixture
def base(tiny: str, tiny_weights: Path, tmp_path: Path) -> RunConfig:
    return RunConfig(
        dataset=tiny, weights=str(tiny_weights), queries=4, unlabelled=4, budget=6, acquire="random", episodes=40,
        results=tmp_path / "results",
    )  # fmt: skip


def test_each_rule_is_a_task_of_its_own_with_the_same_queries(base: RunConfig):
    plain = run(replace(base, acquire=None, budget=None, unlabelled=None))
    records = [run(replace(base, acquire=rule)) for rule in RULES]  # type: ignore[arg-type]
    assert len({task_of(record) for record in [plain, *records]}) == 6
    assert len({record.config_sha256 for record in [plain, *records]}) == 6
    assert [record.task.conditions and record.task.conditions.acquire for record in records] == [*RULES]
    assert all(record.task.conditions and record.task.conditions.budget == 6 for record in records)
    assert all(record.mean > plain.mean for record in records)  # with six more labels


def test_methods_see_the_labels_given_and_what_is_left_of_the_pool(base: RunConfig, monkeypatch: pytest.MonkeyPatch):
    seen, classify = [], ProtoNet.classify
    monkeypatch.setattr(ProtoNet, "uses_unlabelled", True)
    monkeypatch.setattr(ProtoNet, "classify", lambda self, e: seen.append(e) or classify(self, e))
    run(replace(base, acquire="margin"))
    assert {tuple(episodes.support.shape[1:2]) + tuple(episodes.unlabelled.shape[1:2]) for episodes in seen} == {(11, 14)}
    assert all((episodes.support_labels >= 0).all() for episodes in seen)


def test_other_methods_transforms_and_chunks_get_the_same_labels(base: RunConfig, monkeypatch: pytest.MonkeyPatch):
    seen: list[torch.Tensor] = []

    class Watching(ProtoNet):
        bytes_an_episode: ClassVar[int] = 1

        def touched(self, support: int, query: int, ways: int, width: int) -> int:
            return self.bytes_an_episode

        def classify(self, episodes):
            seen.append(episodes.support_labels)
            return super().classify(episodes)

    monkeypatch.setattr("fewbench.methods.metric.protonet.ProtoNet", Watching)
    found = []
    for size, features in ((1, None), (2**24, None), (1, "l2,power:0.5")):
        monkeypatch.setattr(Watching, "bytes_an_episode", size)
        run(replace(base, acquire="coreset", features=features, overwrite=True))
        found.append(torch.cat(seen))
        seen.clear()
    assert found[0].equal(found[1]) and found[0].equal(found[2])


def test_a_replayed_episode_has_the_labels_of_the_run(base: RunConfig):
    record = run(replace(base, acquire="typiclust"))
    options = {"weights": base.weights, "dataset": base.dataset}
    for index in (0, 17):
        again = replay(config_of(options, {}, record), index, record, SILENT)
        assert again.answers is not None
        assert again.answers.credit.mean() == pytest.approx(record.accuracies[index])


def test_rules_that_compare_features_do_not_take_methods_on_images(base: RunConfig):
    with pytest.raises(UsageError, match="--acquire margin compares features, and finetune works on images; take random"):
        run(replace(base, method="finetune", tune="full", acquire="margin"))
