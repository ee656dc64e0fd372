from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from fewbench.benchmark import RunConfig, registry
from fewbench.benchmark.evaluation import evaluate, runner
from fewbench.benchmark.evaluation.choose import choice_batch, with_choices
from fewbench.benchmark.evaluation.evaluate import Evaluator
from fewbench.benchmark.evaluation.plan import make_plan
from fewbench.benchmark.evaluation.replay import config_of, replay
from fewbench.benchmark.evaluation.source import Source
from fewbench.benchmark.features.table import feature_table
from fewbench.benchmark.records.store import write_record
from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT
from fewbench.methods.base import Episodes, Method, class_means, parameter
from fewbench.tasks.samplers import UniformSampler

CPU = torch.device("cpu")
PLUGIN = '''
from fewbench.methods.base import AUTO
from dataclasses import dataclass
from typing import Literal
from fewbench.methods.base import Method, class_means, parameter

@dataclass(frozen=True)
class Signed(Method):
    """Score: a factor times minus the distance to the class mean; a factor below 0 is always wrong."""

    choices = {"factor": (-1.0, 1.0, 2.0), "norm": (1.0, 2.0)}
    choice_episodes = 70
    factor: float | Literal["auto"] = parameter("auto", "of the distance")
    norm: float | Literal["auto"] = parameter("auto", "of the distance")

    def classify(self, episodes):
        assert AUTO not in (self.factor, self.norm)
        means = class_means(episodes.support, episodes.support_labels, episodes.ways)
        return -self.factor * (episodes.query[:, :, None] - means[:, None]).norm(p=self.norm, dim=-1)
'''


@dataclass(frozen=True)
class Signed(Method):
    """What the plug-in above does, with its values given."""

    choices: ClassVar = {}
    factor: float = parameter(1.0, "")
    norm: float = parameter(2.0, "")

    def classify(self, episodes: Episodes) -> Tensor:
        means = class_means(episodes.support, episodes.support_labels, episodes.ways)
        return -self.factor * (episodes.query[:, :, None] - means[:, None]).norm(p=self.norm, dim=-1)


@pytest.fixture
def signed(tmp_path: Path, config: RunConfig) -> RunConfig:
    (tmp_path / "signed.py").write_text(PLUGIN)
    return replace(config, method=f"{tmp_path / 'signed.py'}:Signed")


def test_every_combination_is_tried_on_val_episodes_and_the_first_of_the_best_is_taken(signed: RunConfig, tiny: str):
    plan = with_choices(make_plan(signed), CPU, SILENT)
    chosen = plan.method_section.chosen
    assert chosen is not None and (chosen.split, chosen.episodes) == ("val", 70)
    split = registry.load(registry.find("datasets", tiny))().split("val")
    sampler = UniformSampler(split.offsets, seed=0, ways=5, shots=1, queries=5)
    batch = sampler.draw(0, 70)
    table = feature_table(plan.backbone, split, CPU, SILENT)
    source = Source(CPU, table=table)
    by_hand = [
        [factor, norm, round(float(Evaluator(Signed(factor, norm), source, "signed").accuracies(batch).mean()), 6)]
        for factor in (-1.0, 1.0, 2.0)
        for norm in (1.0, 2.0)
    ]
    assert chosen.tried == by_hand
    best = max(accuracy for _, _, accuracy in by_hand)
    first = next(one for one in by_hand if one[2] == best)
    assert chosen.values == {"factor": first[0], "norm": first[1]} and first[0] == 1.0  # 2.0 is as good, and comes later
    assert plan.method == replace(make_plan(signed).method, **chosen.values)


def test_what_is_given_is_not_chosen(signed: RunConfig):
    plan = with_choices(make_plan(replace(signed, settings={"factor": -1.0})), CPU, SILENT)
    chosen = plan.method_section.chosen
    assert chosen is not None and set(chosen.values) == {"norm"} and len(chosen.tried) == 2
    decided = make_plan(replace(signed, settings={"factor": 1.0, "norm": 2.0}))
    assert with_choices(decided, CPU, SILENT) is decided


def test_the_record_holds_auto_and_what_was_chosen(signed: RunConfig):
    outcome = runner.run(signed, SILENT)
    method = outcome.record.method
    assert method.chosen is not None and method.parameters == {"factor": "auto", "norm": "auto"}
    given = runner.run(replace(signed, settings=method.chosen.values), SILENT)
    assert given.path != outcome.path and (given.record.accuracies == outcome.record.accuracies).all()
    assert runner.run(signed, SILENT).reused


def test_an_episode_is_answered_again_with_what_was_chosen(signed: RunConfig):
    record = runner.run(replace(signed, overwrite=True), SILENT).record
    options = {"method": signed.method, "dataset": signed.dataset, "weights": signed.weights}
    answers = replay(config_of(options, {}, record), 3, record, SILENT).answers
    assert answers is not None and answers.credit.mean() == pytest.approx(record.accuracies[3])


def test_a_val_split_that_is_too_small_is_told(signed: RunConfig):
    plan = make_plan(replace(signed, dataset="trifeature", weights=None, ways=161))  # of 160 val classes and 200 test classes
    with pytest.raises(UsageError, match=r"^factor=auto is chosen on val episodes: .* or set it: --set factor=1$"):
        with_choices(plan, CPU, SILENT)


def test_a_run_on_val_has_to_be_told(signed: RunConfig):
    with pytest.raises(
        UsageError, match=r"^factor=auto is chosen on val episodes, which the run reports; set it: --set factor="
    ):
        make_plan(replace(signed, split="val"))
    decided = replace(signed, split="val", settings={"factor": 1.0, "norm": 2.0})
    assert runner.run(decided, SILENT).record.task.split == "val"


def test_an_interrupted_run_goes_on_with_what_it_chose(signed: RunConfig, monkeypatch: pytest.MonkeyPatch, altered):
    monkeypatch.setattr(evaluate, "CHUNK", 64)  # of 70 episodes, whole chunks are kept
    begun = runner.run(replace(signed, limit=70), SILENT).record
    assert begun.status == "partial" and begun.method.chosen and begun.method.chosen.values["factor"] == 1.0
    # As if chosen on a device that rounds otherwise.
    chosen = replace(begun.method.chosen, values={"factor": -1.0, "norm": 2.0})
    path = next(signed.results.rglob("*.partial.json"))
    write_record(altered(begun, method={"chosen": chosen}), path)
    record = runner.run(signed, SILENT).record
    assert record.method.chosen == chosen and record.accuracies[70:].mean() < 0.2 < record.accuracies[:70].mean()


def test_methods_say_what_is_undecided():
    @dataclass(frozen=True)
    class Open(Method):
        choices: ClassVar = {"one": (1, 2), "two": (3, 4)}
        one: int | Literal["auto"] = parameter("auto", "")
        two: int | Literal["auto"] = parameter(3, "")

        def classify(self, episodes: Episodes) -> Tensor:
            raise NotImplementedError

    assert Open().undecided_with("none") == ("one",) and Open(one=1).undecided_with("none") == ()
    assert Open(two="auto").undecided_with("none") == ("one", "two")


def test_a_choice_is_made_on_fewer_episodes_where_they_are_large():
    def count(shots: int) -> int:
        return len(choice_batch(Signed(), UniformSampler(np.arange(11) * 500, seed=0, ways=5, shots=shots, queries=2)))

    assert [count(shots) for shots in (1, 16, 20, 400)] == [100, 100, 80, 10]
