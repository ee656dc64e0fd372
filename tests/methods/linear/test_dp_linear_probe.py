import math

import numpy as np
import pytest
import torch

from fewbench.core.errors import UsageError
from fewbench.methods.linear.dp_linear_probe import DPLinearProbe, delta_of, noise_multiplier
from fewbench.tasks.episodes import Episodes

PUBLIC = 1e9  # an epsilon that needs next to no noise


def test_noise_of_one_step_is_that_of_the_analytic_gaussian_mechanism():
    assert noise_multiplier(1.0, 1e-5, 1) == pytest.approx(3.7306, abs=1e-3)  # Balle and Wang 2018
    assert noise_multiplier(1.0, 1e-5, 25) == pytest.approx(5 * noise_multiplier(1.0, 1e-5, 1), rel=1e-9)
    assert delta_of(0.0, 1.0, 1) == pytest.approx(math.erf(0.5 / math.sqrt(2)))  # the total variation of two normals
    assert noise_multiplier(8.0, 0.04, 50) < noise_multiplier(1.0, 0.04, 50) < noise_multiplier(1.0, 0.001, 50)


@pytest.mark.parametrize(("epsilon", "delta", "steps"), [(1.0, 1e-5, 1), (8.0, 0.04, 50), (2.0, 1e-3, 200)])
def test_the_accountant_of_google_agrees(epsilon: float, delta: float, steps: int):
    accounting = pytest.importorskip("dp_accounting")
    accountant = accounting.pld.PLDAccountant()
    step = accounting.GaussianDpEvent(noise_multiplier(epsilon, delta, steps))
    accountant.compose(accounting.SelfComposedDpEvent(step, steps))
    assert accountant.get_epsilon(delta) == pytest.approx(epsilon, rel=0.01)


def descended(support: np.ndarray, labels: np.ndarray, query: np.ndarray, ways: int, method: DPLinearProbe) -> np.ndarray:
    """The logits after clipped gradient descent without noise, image by image."""

    def rows(features: np.ndarray) -> np.ndarray:
        return np.concatenate([features / np.linalg.norm(features, axis=1, keepdims=True), np.ones((len(features), 1))], axis=1)

    weights = np.zeros((ways, support.shape[1] + 1))
    for _ in range(method.steps):
        total = np.zeros_like(weights)
        for row, label in zip(rows(support), labels, strict=True):
            scores = np.exp(weights @ row)
            gradient = np.outer(scores / scores.sum() - np.eye(ways)[label], row)
            total += gradient * min(1, method.clip / np.linalg.norm(gradient))
        weights -= method.learning_rate * total / len(labels)
    return rows(query) @ weights.T


@pytest.mark.parametrize("clip", [0.3, 10.0])
def test_with_no_need_for_noise_it_is_clipped_gradient_descent(make_episodes, clip: float):
    episodes: Episodes = make_episodes()
    method = DPLinearProbe(epsilon=PUBLIC, clip=clip, steps=7, learning_rate=2.0)
    assert method.noise(25) < 1e-3
    scores = method.classify(episodes)
    for i in range(len(episodes)):
        support, labels, query = (
            part[i].double().numpy() for part in (episodes.support, episodes.support_labels, episodes.query)
        )
        expected = descended(support, labels.astype(int), query, episodes.ways, method)
        np.testing.assert_allclose(scores[i].numpy(), expected, atol=0.02)


def test_the_noise_of_the_weights_has_the_deviation_that_epsilon_asks_for(make_episodes):
    episodes: Episodes = make_episodes()
    method = DPLinearProbe(epsilon=1.0, steps=1, learning_rate=1.0)
    plain = DPLinearProbe(epsilon=PUBLIC, steps=1, learning_rate=1.0)
    noisy = []
    for seed in range(400):
        episodes.seeds.copy_(torch.arange(len(episodes)) + 1000 * seed)
        noisy.append(method.classify(episodes) - plain.classify(episodes))
    images = int((episodes.support_labels[0] >= 0).sum())
    expected = method.noise(images) / images * math.sqrt(2)  # rows have the length √2
    assert float(torch.stack(noisy).std()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("options", [{"epsilon": 0.0}, {"delta": 1.0}, {"clip": -1.0}, {"steps": 0}])
def test_impossible_parameters_are_refused(options: dict):
    with pytest.raises(UsageError, match=f"DPLinearProbe: {next(iter(options))}="):
        DPLinearProbe(**options)
