from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from fewbench.core.errors import UserError
from fewbench.methods.linear.distribution_calibration import Calibrated, DistributionCalibration, calibrated, fitted
from fewbench.tasks.episodes import TrainClasses

WIDTH, SPREAD = 6, 0.21


@pytest.fixture
def features() -> Tensor:
    """Features of five train classes, some with more images, float64."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(5, WIDTH, WIDTH)) / 4
    return torch.from_numpy(np.abs(random.normal(size=(5, 1, WIDTH)) + random.normal(size=(5, 30, WIDTH)) @ mixing))


@pytest.fixture
def train(features: Tensor) -> TrainClasses:
    return TrainClasses(features.mean(dim=1), lambda number: features[number, : 20 + number])


def expected(row: np.ndarray, train: TrainClasses, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance by the paper's formulas (equations 5 and 6)."""
    means = train.means.numpy()
    near = np.argsort(np.linalg.norm(means - row, axis=1))[:neighbours]
    mean = (row + means[near].sum(axis=0)) / (neighbours + 1)
    scatters = []
    for number in near:
        rows = train.features_of(int(number)).numpy() - means[number]
        scatters.append(rows.T @ rows / (len(rows) - 1))
    return mean, np.mean(scatters, axis=0) + SPREAD


def covariance_of(found: Calibrated) -> np.ndarray:
    """The covariance that the factors stand for."""
    products = torch.stack([factor.T @ factor for factor in found.factors])
    return (products.mean(dim=0) + found.spread).numpy()


@pytest.mark.parametrize("neighbours", [1, 2, 4])
def test_mean_and_covariance_are_those_of_the_paper(train: TrainClasses, neighbours: int):
    for seed in range(5):
        row = np.random.default_rng(seed).random(WIDTH)
        found = calibrated(torch.from_numpy(row), train, neighbours, SPREAD)
        mean, covariance = expected(row, train, neighbours)
        np.testing.assert_allclose(found.mean.numpy(), mean, rtol=1e-12)
        np.testing.assert_allclose(covariance_of(found), covariance, rtol=1e-10, atol=1e-12)


def test_covariances_are_those_that_numpy_estimates(features: Tensor):
    train = TrainClasses(features.mean(dim=1), lambda number: features[number])
    found = calibrated(features[2, 0], train, 1, 0.0)
    near = int((train.means - features[2, 0]).square().sum(dim=1).argmin())
    np.testing.assert_allclose(covariance_of(found), np.cov(features[near].numpy().T), rtol=1e-10)


def test_drawn_features_have_mean_and_covariance(train: TrainClasses):
    found = calibrated(torch.rand(WIDTH, generator=Generator().manual_seed(1)).double(), train, 2, SPREAD)
    rows = torch.empty(200_000, WIDTH, dtype=torch.float64)
    found.draw(rows, Generator().manual_seed(0))
    np.testing.assert_allclose(rows.mean(dim=0), found.mean, atol=0.01)
    np.testing.assert_allclose(np.cov(rows.numpy().T), covariance_of(found), atol=0.01)


def test_more_neighbours_than_train_classes_are_all_of_them(train: TrainClasses):
    row = torch.rand(WIDTH, generator=Generator().manual_seed(1)).double()
    assert calibrated(row, train, 9, SPREAD).mean.equal(calibrated(row, train, 5, SPREAD).mean)


@pytest.mark.parametrize("ways", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fit_is_where_the_gradient_ends(ways: int, dtype: torch.dtype):
    random = np.random.default_rng(3)
    rows, labels = random.normal(size=(60, 4)) + 2, np.arange(60) % ways
    rows[:, 0] += labels
    found = [part[0].numpy() for part in fitted(torch.from_numpy(rows)[None].to(dtype), torch.from_numpy(labels)[None], ways)]
    scores = rows @ found[0].T + found[1]
    share = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) - np.eye(ways)[labels]
    assert np.abs(share.T @ rows + found[0]).max() < 0.1 and np.abs(share.sum(axis=0)).max() < 0.1
    assert np.abs(found[0]).max() > 0.1


def test_each_class_has_as_many_features_and_the_seed_decides_them(make_unequal_episodes, monkeypatch: pytest.MonkeyPatch):
    import fewbench.methods.linear.distribution_calibration as module

    seen: list[tuple[Tensor, Tensor]] = []
    monkeypatch.setattr(module, "fitted", lambda rows, labels, ways: seen.append((rows, labels)) or fitted(rows, labels, ways))
    episodes = make_unequal_episodes(count=3)
    method = DistributionCalibration(samples=60)
    scores = method.classify(episodes)
    for (_, labels), support in zip(seen, episodes.support_labels, strict=True):
        shots = support[support >= 0].bincount()
        assert labels[0].bincount().tolist() == [int(n) + int(n) * (60 // int(n)) for n in shots]
    assert method.classify(episodes).equal(scores)
    assert not method.classify(replace(episodes, seeds=episodes.seeds + 1)).equal(scores)


def test_episodes_that_are_fitted_together_score_as_they_do_alone(make_episodes):
    episodes, method = make_episodes(count=4), DistributionCalibration(samples=60)
    scores = method.classify(episodes)
    for i in range(4):
        part = slice(i, i + 1)
        alone = replace(
            episodes, support=episodes.support[part], support_labels=episodes.support_labels[part], seeds=episodes.seeds[part],
            query=episodes.query[part], class_mask=episodes.class_mask[part], query_mask=None,
        )  # fmt: skip
        torch.testing.assert_close(method.classify(alone), scores[part], rtol=1e-4, atol=1e-4)


def test_negative_coordinates_keep_their_sign(make_episodes):
    episodes = make_episodes()
    turned = replace(
        episodes, support=-episodes.support, query=-episodes.query,
        train_classes=TrainClasses(-episodes.train_classes.means, lambda n: -episodes.train_classes.features_of(n)),
    )  # fmt: skip
    method = DistributionCalibration(spread=0.0)
    same = (method.classify(episodes).argmax(dim=2) == method.classify(turned).argmax(dim=2)).double().mean()
    assert same > 0.8  # but for what is drawn


def test_without_train_classes_it_says_so(make_episodes):
    with pytest.raises(UserError, match="features of the train classes"):
        DistributionCalibration().classify(replace(make_episodes(), train_classes=None))
