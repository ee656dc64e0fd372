from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.evaluation.evaluate import CHUNK, Evaluator, chunk_size
from fewbench.benchmark.evaluation.source import Inputs, Source
from fewbench.benchmark.features.table import FeatureTable
from fewbench.core.errors import UserError
from fewbench.methods.base import Method
from fewbench.methods.linear.meta_opt_net import MetaOptNet
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.episodes import EpisodeBatch, Episodes
from fewbench.tasks.meta_dataset import MetaDatasetSampler
from fewbench.tasks.samplers import UniformSampler

CPU = torch.device("cpu")
ROWS = 400  # of the table below, ten classes of 40
SOURCE = Source(
    CPU,
    FeatureTable.of(np.random.default_rng(0).normal(size=(ROWS, 6)).astype(np.float32), CPU),
    class_names=tuple(f"class {c}" for c in range(10)),
    train_mean=torch.arange(6.0),
)
SAMPLER = UniformSampler(np.arange(11) * 40, seed=4, ways=3, shots=2, queries=5)
VARYING = MetaDatasetSampler(np.arange(11) * 40, seed=4, max_support=60)


@dataclass(frozen=True)
class Given(Method):
    """Scores made by a function, to look at the evaluation alone."""

    function: Callable[[Episodes], object]

    def classify(self, episodes: Episodes) -> Tensor:
        return self.function(episodes)  # type: ignore[return-value]


@dataclass(frozen=True)
class OnImages(Given):
    inputs: ClassVar = "images"
    uses_class_names: ClassVar[bool] = True
    uses_train_mean: ClassVar[bool] = True


def batch_of(query_labels: list[list[int]], classes: list[list[int]], first: int = 0) -> EpisodeBatch:
    labels, chosen = np.array(query_labels), np.array(classes)
    support_labels = np.where(chosen < 0, -1, np.arange(chosen.shape[1]))
    zeros = np.zeros_like(support_labels)
    return EpisodeBatch(zeros, support_labels, np.zeros_like(labels), labels, chosen, first + np.arange(len(labels)))


def accuracy(scores: list | Tensor, query_labels: list[list[int]], classes: list[list[int]]) -> list[float]:
    batch = batch_of(query_labels, classes)
    return Evaluator(Given(lambda episodes: torch.as_tensor(scores)), SOURCE, "given").accuracies(batch).tolist()


def test_accuracy_is_the_fraction_of_queries_whose_own_class_scores_highest():
    scores = [[[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [5.0, 4.0, 0.0], [0.0, 0.5, 0.25]]]
    assert accuracy(scores, [[0, 0, 1, 1]], [[4, 7, 2]]) == [0.5]


def test_a_tie_gets_its_expected_credit():
    scores = [[[1.0, 1.0, 0.0], [2.0, 2.0, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 3.0]]]
    assert accuracy(scores, [[0, 2, 2, 2]], [[4, 7, 2]]) == pytest.approx([(1 / 2 + 1 / 3 + 0 + 1) / 4])


def test_queries_that_are_padding_do_not_count():
    scores = [[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0], [torch.nan, 1.0]]]
    assert accuracy(scores, [[0, 1, 1], [0, 1, -1]], [[4, 7], [4, 7]]) == pytest.approx([2 / 3, 1 / 2])


def test_classes_that_are_padding_neither_win_nor_tie():
    high = [[[1.0, 0.0, 9.0], [0.0, 1.0, torch.nan]], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]
    assert accuracy(high, [[0, 1], [2, 1]], [[4, 7, -1], [4, 7, 2]]) == [1.0, 0.5]
    tied = [[[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]
    assert accuracy(tied, [[0, 0], [2, 1]], [[4, 7, -1], [4, 7, 2]]) == [0.75, 0.5]


def test_a_score_of_minus_infinity_rules_a_class_out():
    never = -torch.inf
    scores = [[[never, -5.0, 9.0], [0.0, never, torch.inf]], [[never, never, -1e30], [0.0, 1.0, never]]]
    assert accuracy(scores, [[0, 0], [2, 2]], [[4, 7, -1], [4, 7, 2]]) == [0.5, 0.5]


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        torch.float64,
        torch.int64,
        torch.bool,
    ],
)
def test_votes_are_scores_too(dtype: torch.dtype):
    scores = torch.tensor([[[0, 1, 1], [1, 0, 0]], [[1, 0, 0], [1, 1, 0]]]).to(dtype)
    assert accuracy(scores, [[1, 1], [0, 1]], [[4, 7, -1], [4, 7, 2]]) == [0.5, 0.75]


def random_scores(episodes: Episodes) -> Tensor:
    """Scores that depend on an episode's seed and queries alone, with ties."""
    generators = [torch.Generator().manual_seed(int(seed)) for seed in episodes.seeds]
    ways, queries = episodes.ways, episodes.query.shape[1]
    drawn = torch.stack([torch.rand(100, 20, generator=generator)[:queries, :ways] for generator in generators])
    return (drawn * 4).round()


def credit_one_by_one(batch: EpisodeBatch) -> list[float]:
    """The definition, a query at a time."""
    results = []
    for i in range(len(batch)):
        scores = torch.rand(100, 20, generator=torch.Generator().manual_seed(int(batch.seeds[i])))
        ways = int((batch.classes[i] >= 0).sum())
        credits = []
        for place, label in enumerate(batch.query_labels[i]):
            if label >= 0:
                row = (scores[place, :ways] * 4).round().tolist()
                credits.append((row[label] == max(row)) / row.count(max(row)))
        results.append(sum(credits) / len(credits))
    return results


RANDOM = Evaluator(Given(random_scores), SOURCE, "given")


@pytest.mark.parametrize("sampler", [SAMPLER, VARYING], ids=lambda sampler: sampler.name)
def test_evaluation_is_the_definition_query_by_query(sampler):
    batch = sampler.draw(0, 30)
    expected = credit_one_by_one(batch)
    assert len(set(expected)) > 10
    assert RANDOM.accuracies(batch).tolist() == pytest.approx(expected)


def test_chunks_lie_on_a_fixed_grid_and_join_to_the_whole():
    stop = 6 * CHUNK + 10  # more than a sampler yields at a time
    parts, found = zip(*RANDOM.chunks(SAMPLER.batches(CHUNK, stop)), strict=True)
    assert [len(part) for part in parts] == [CHUNK] * 5 + [10]
    assert [int(part.index[0]) for part in parts] == list(range(CHUNK, stop, CHUNK))
    whole = SAMPLER.draw(CHUNK, stop)
    np.testing.assert_array_equal(np.concatenate([part.support for part in parts]), whole.support)
    expected = credit_one_by_one(whole)
    assert np.concatenate(found).tolist() == pytest.approx(expected)


def test_a_given_batch_comes_back_in_chunks():
    batch = SAMPLER.draw(0, CHUNK + 5)
    parts = list(RANDOM.chunks([batch]))
    assert [part.index.tolist() for part, _ in parts] == [list(range(CHUNK)), list(range(CHUNK, CHUNK + 5))]
    assert np.concatenate([found for _, found in parts]).tolist() == pytest.approx(credit_one_by_one(batch))


def test_chunks_are_as_large_as_what_they_touch_allows():
    def size(method: Method, ways: int, shots: int, width: int, inputs: Inputs = "features") -> int:
        sampler = UniformSampler(np.arange(ways + 1) * 200, seed=0, ways=ways, shots=shots, queries=15)
        return chunk_size(method, sampler.draw(0, 1), inputs, width)

    assert [size(ProtoNet(), *shape) for shape in ((5, 1, 8), (5, 1, 640), (5, 16, 640), (20, 16, 640))] == [CHUNK, 64, 32, 16]
    assert [size(MetaOptNet(), 5, shots, 640) for shots in (1, 5, 16)] == [128, 128, 16]  # with more shots its solver counts
    assert 1 <= size(ProtoNet(), 5, 1, 0, "images") < 16


def test_a_method_is_given_its_rows_and_no_labels_of_queries():
    batch = SAMPLER.draw(5, 9)
    episodes = SOURCE.fill(batch, ProtoNet())
    features = SOURCE.table.features  # type: ignore[union-attr]
    np.testing.assert_array_equal(episodes.support.numpy(), features[batch.support])
    np.testing.assert_array_equal(episodes.query.numpy(), features[batch.query])
    np.testing.assert_array_equal(episodes.support_labels.numpy(), batch.support_labels)
    np.testing.assert_array_equal(episodes.seeds.numpy(), SAMPLER.episode_seeds(np.arange(5, 9)))
    assert episodes.ways == 3 and episodes.class_mask.all() and episodes.class_mask.shape == (4, 3)
    assert episodes.query_labels is episodes.class_names is episodes.train_mean is episodes.backbone is None


def test_a_method_is_given_what_it_declares_to_use():
    images = np.random.default_rng(1).integers(0, 256, size=(ROWS, 8, 8, 1), dtype=np.uint8)
    backbone = torch.nn.Flatten()
    source = Source(
        CPU, None, images, Preprocess(1, 8, (0.5,), (0.5,)), backbone, SOURCE.class_names, train_mean=torch.arange(6.0)
    )
    batch = VARYING.draw(0, 4).trimmed()
    episodes = source.fill(batch, OnImages(random_scores))
    assert episodes.support.shape == (*batch.support.shape, 1, 8, 8)
    expected = (torch.from_numpy(images[batch.query[1, 2]]).permute(2, 0, 1) / 255 - 0.5) / 0.5
    assert torch.equal(episodes.query[1, 2], expected)
    assert episodes.class_names == tuple(tuple(f"class {c}" for c in row if c >= 0) for row in batch.classes)
    assert episodes.backbone is backbone and episodes.train_mean is source.train_mean
    np.testing.assert_array_equal(episodes.class_mask.numpy(), batch.classes >= 0)


def failing(function: Callable[[Episodes], object], first: int = 128) -> str:
    batch = SAMPLER.draw(first, first + 4)
    with pytest.raises(UserError) as caught:
        Evaluator(Given(function), SOURCE, "bad").accuracies(batch)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_scores_of_the_wrong_shape_name_the_method_and_the_episodes():
    expected = "for episode 128 and following; expected a tensor [episodes, queries, ways] = [4, 15, 3]"
    assert failing(lambda e: e.query.sum(dim=2)) == f"method bad returned scores of shape [4, 15] {expected}"
    assert failing(lambda e: torch.zeros(4, 15, 5)) == f"method bad returned scores of shape [4, 15, 5] {expected}"
    assert failing(lambda e: None) == f"method bad returned scores of type NoneType {expected}"
    assert failing(lambda e: np.zeros((4, 15, 3))) == f"method bad returned scores of type ndarray {expected}"


def test_scores_of_another_kind_are_told():
    expected = "for episode 128 and following; expected real numbers, strided, on cpu"
    zeros = torch.zeros(4, 15, 3)
    for scores, kind in (
        (zeros + 1j, "complex64, strided, on cpu"),
        (zeros.to_sparse(), "float32, sparse_coo, on cpu"),
        (zeros.to("meta"), "float32, strided, on meta"),
    ):
        assert failing(lambda e, scores=scores: scores) == f"method bad returned scores of {kind} {expected}"


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([0, torch.nan, 0], "NaN scores"),
        ([0, torch.inf, 0], "scores of +∞"),
        ([-torch.inf] * 3, "no finite score for a query"),
    ],
)
def test_scores_that_are_not_finite_name_the_method_and_the_episode(scores: list[float], says: str):
    def spoilt(episodes: Episodes) -> Tensor:
        given = torch.zeros(4, 15, 3)
        given[2, 7] = torch.tensor(scores)
        return given

    assert failing(spoilt) == f"method bad returned {says} in episode 130"


def test_whatever_a_method_raises_is_one_line_that_names_it():
    def fails(episodes: Episodes) -> Tensor:
        raise ZeroDivisionError("first line\nsecond line")

    expected = "method bad failed in episodes 128 to 131: ZeroDivisionError: first line second line"
    assert failing(fails) == expected


def test_a_method_that_leaves_python_is_told_too():
    def leaves(episodes: Episodes) -> Tensor:
        raise SystemExit(0)

    assert failing(leaves) == "method bad failed in episodes 128 to 131: SystemExit: 0"


def test_a_methods_own_message_and_ctrl_c_pass_through():
    def refuses(episodes: Episodes) -> Tensor:
        raise UserError("take more shots")

    assert failing(refuses) == "take more shots"

    def interrupted(episodes: Episodes) -> Tensor:
        raise KeyboardInterrupt

    batch = SAMPLER.draw(0, 2)
    with pytest.raises(KeyboardInterrupt):
        Evaluator(Given(interrupted), SOURCE, "bad").accuracies(batch)


def test_a_method_runs_without_gradients():
    seen = []

    def look(episodes: Episodes) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return random_scores(episodes)

    batch = SAMPLER.draw(0, 2)
    Evaluator(Given(look), SOURCE, "given").accuracies(batch)
    assert seen == [False]


def test_padding_among_the_queries_alone_is_told():
    batch = VARYING.draw(0, 8)
    episodes = SOURCE.fill(batch, ProtoNet())
    assert episodes.query_mask is not None
    np.testing.assert_array_equal(episodes.query_mask.numpy(), batch.query_labels >= 0)
    whole = replace(
        episodes,
        support_labels=episodes.support_labels.clamp(min=0),
        class_mask=torch.ones_like(episodes.class_mask),
        query_mask=torch.ones_like(episodes.query_mask),
    )
    assert not whole.padded
    missing = whole.query_mask.clone()  # type: ignore[union-attr]
    missing[0, -1] = False
    assert replace(whole, query_mask=missing).padded
