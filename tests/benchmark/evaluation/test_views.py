"""`--views`: several views of every image are classified; their features are averaged, or they vote."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fewbench.benchmark import RunConfig
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.evaluation import runner
from fewbench.benchmark.evaluation.evaluate import Evaluator
from fewbench.benchmark.evaluation.opening import source_of, source_of_rows
from fewbench.benchmark.evaluation.plan import make_plan
from fewbench.benchmark.evaluation.replay import config_of, replay
from fewbench.benchmark.evaluation.scores import votes
from fewbench.benchmark.features.table import AveragedTable, feature_table
from fewbench.benchmark.records.labels import labels_of
from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT
from fewbench.tasks.viewed_split import viewed

CPU = torch.device("cpu")
NEVER = -torch.inf


def test_the_class_with_most_votes_wins_and_the_softmax_breaks_ties():
    first = torch.tensor([[[3.0, 1.0, 0.0], [5.0, 0.0, 0.0], [0.0, 1.0, NEVER]]])
    second = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.1, 0.0], [1.0, 0.0, NEVER]]])
    third = torch.tensor([[[0.0, 9.0, 0.0], [0.0, 0.0, 0.1], [2.0, 0.0, NEVER]]])
    found = votes([first, second, third])
    assert found.argmax(dim=2).tolist() == [[1, 0, 0]]
    assert found[0, 0].floor().tolist() == [1, 2, 0] and found[0, 1].floor().tolist() == [1, 1, 1]
    expected = 1 + sum(one[0, 1].double().softmax(dim=0)[0] for one in (first, second, third)) / 6
    assert found[0, 1, 0] == pytest.approx(float(expected))
    assert (found[0, 2, 2] == NEVER) and found[0, 2, :2].isfinite().all()


@pytest.fixture
def with_views(config: RunConfig) -> RunConfig:
    return replace(config, views=3)


def test_features_are_the_mean_of_those_of_the_views(with_views: RunConfig):
    plan = make_plan(with_views)
    split = plan.open_split("test", SILENT)
    source, encoded = source_of(plan, split, CPU, SILENT)
    assert isinstance(source.table, AveragedTable) and encoded is not None and encoded.images == 3 * len(split.images)
    tables = [feature_table(plan.backbone, viewed(split, view), CPU, SILENT, plan.encoding) for view in range(3)]
    rows = np.array([[4, 0, 7]])
    expected = torch.stack([table.gather(rows) for table in tables]).mean(dim=0)
    torch.testing.assert_close(source.rows(rows), expected)
    few = source_of_rows(plan, split, rows[0], CPU, SILENT)
    torch.testing.assert_close(few.rows(np.array([[0, 1, 2]])), expected)


def test_a_vote_scores_each_view_by_itself(with_views: RunConfig):
    plan = make_plan(replace(with_views, vote="majority"))
    split = plan.open_split("test", SILENT)
    source, _ = source_of(plan, split, CPU, SILENT)
    batch = plan.sampler(split).draw(0, 5)
    scores, labels = next(Evaluator(plan.method, source, "protonet").score(batch))
    each = [replace(source, table=table, voters=()) for table in (source.table, *source.voters)]
    alone = [next(Evaluator(plan.method, one, "protonet").score(batch))[0] for one in each]
    assert torch.equal(scores, votes(alone)) and scores.shape == (*labels.shape, 5)


def test_records_say_their_views_and_older_names_stay(config: RunConfig, with_views: RunConfig):
    plain, averaged = runner.run(config, SILENT), runner.run(with_views, SILENT)
    voted = runner.run(replace(with_views, vote="majority"), SILENT)
    assert [one.record.backbone.views for one in (plain, averaged, voted)] == [None, "3, features", "3, majority"]
    assert len({one.path for one in (plain, averaged, voted)}) == 3
    assert make_plan(config).path() == plain.path
    assert runner.run(with_views, SILENT).reused
    labels = [str(label) for label in labels_of([one.record for one in (plain, averaged, voted)])]
    assert "views=3, majority" in labels[2] and len({*labels}) == 3
    assert plain.record.task.episodes_sha256 == averaged.record.task.episodes_sha256
    for outcome in (averaged, voted):
        repeated = config_of({"dataset": config.dataset, "weights": config.weights}, {}, outcome.record)
        assert replay(repeated, 3, outcome.record, SILENT).answers is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vote": "majority"}, "--vote majority: of how many views"),
        ({"views": 1}, "--views 1"),
        ({"views": 2, "vote": "mean"}, "--vote mean"),
    ],
)
def test_what_makes_no_views_is_refused(options: dict, message: str):
    with pytest.raises(UsageError, match=message):
        RunConfig(**options)


def test_a_method_on_images_is_refused(with_views: RunConfig):
    with pytest.raises(UsageError, match="--views 3: maml works on images"):
        make_plan(replace(with_views, method="maml"))


def test_several_machines_are_refused(config: RunConfig):
    words = ["--dataset", config.dataset, "--weights", str(config.weights), "--episodes", "20", "--queries", "5"]
    done = CliRunner().invoke(app, ["run", *words, "--views", "2", "--engine", "ray"])
    assert isinstance(done.exception, UsageError) and "leave out --engine ray" in str(done.exception)
