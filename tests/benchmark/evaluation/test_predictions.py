from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from fewbench.benchmark.evaluation.evaluate import Evaluator
from fewbench.benchmark.evaluation.scores import credit
from fewbench.benchmark.evaluation.source import Source
from fewbench.benchmark.features.table import FeatureTable
from fewbench.methods.base import Episodes, Method
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.episodes import EpisodeBatch
from fewbench.tasks.meta_dataset import MetaDatasetSampler

CPU = torch.device("cpu")
FEATURES = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
SOURCE = Source(CPU, FeatureTable.of(FEATURES, CPU))


@dataclass(frozen=True)
class Given(Method):
    """Scores given in advance."""

    scores: Tensor

    def classify(self, episodes: Episodes) -> Tensor:
        return self.scores


def answers(scores: list, query_labels: list[list[int]], classes: list[list[int]]):
    labels, chosen = np.array(query_labels), np.array(classes)
    support_labels = np.where(chosen < 0, -1, np.arange(chosen.shape[1]))
    zeros = np.zeros_like
    batch = EpisodeBatch(zeros(support_labels), support_labels, zeros(labels), labels, chosen, np.arange(len(labels)))
    return Evaluator(Given(torch.tensor(scores)), SOURCE, "given").predictions(batch)


def test_a_prediction_is_the_class_with_the_highest_score():
    found = answers([[[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 0.5, 0.25]]], [[0, 0, 1]], [[4, 7, 2]])
    assert found.predicted.tolist() == [[0, 2, 1]]
    assert found.credit.tolist() == [[1.0, 0.0, 1.0]]


def test_of_tied_classes_the_first_is_predicted_and_the_credit_is_shared():
    found = answers([[[1.0, 2.0, 2.0], [2.0, 2.0, 2.0], [2.0, 2.0, 1.0]]], [[2, 0, 2]], [[4, 7, 2]])
    assert found.predicted.tolist() == [[1, 0, 0]]
    assert found.credit.tolist() == [[1 / 2, pytest.approx(1 / 3), 0.0]]


def test_padding_is_never_predicted_and_never_counts():
    scores = [[[1.0, 2.0, 9.0], [torch.nan, 1.0, 9.0]], [[1.0, 2.0, 9.0], [3.0, 2.0, 1.0]]]
    found = answers(scores, [[0, -1], [2, 0]], [[4, 7, -1], [4, 7, 2]])
    assert found.predicted.tolist() == [[1, -1], [2, 0]]
    assert found.credit.tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_the_credit_of_a_padded_query_is_nought_even_where_its_scores_are_nan():
    assert credit(torch.full((1, 1, 2), torch.nan), torch.tensor([[-1]])).tolist() == [[0.0]]


def test_predictions_have_the_accuracy_of_their_episodes():
    sampler = MetaDatasetSampler(np.arange(11) * 40, seed=4, max_support=60)
    batch = sampler.draw(0, 16).trimmed()
    evaluator = Evaluator(ProtoNet(), SOURCE, "protonet")
    predicted, credits = evaluator.predictions(batch)
    present = batch.query_labels >= 0
    right = (predicted == batch.query_labels) & present
    assert (right == (credits == 1)).all()  # features are random numbers: no ties
    expected = evaluator.accuracies(batch)
    assert (right.sum(axis=1) / present.sum(axis=1)).tolist() == pytest.approx(expected.tolist())
