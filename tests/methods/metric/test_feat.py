"""FEAT, against its formulas in plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, nn

from fewbench.core.errors import UsageError
from fewbench.methods.metric.feat import Feat, SetTransformer
from fewbench.tasks.episodes import Episodes


@pytest.fixture(params=["equal", "unequal"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    made: Episodes = make_episodes() if request.param == "equal" else make_unequal_episodes()
    part = Feat().learned_part(nn.Identity(), 8, 5, Generator().manual_seed(2)).eval()
    nn.init.normal_(part.layer_norm.weight, generator=Generator().manual_seed(3))
    nn.init.normal_(part.layer_norm.bias, generator=Generator().manual_seed(4))
    labels = torch.arange(made.query.shape[1]) % made.class_mask.sum(dim=1)[:, None]
    return replace(made, learned=part, query_labels=labels)


def adapted(part: nn.Module, rows: np.ndarray) -> np.ndarray:
    """Every row after attention to all of them."""
    state = {name: value.double().numpy() for name, value in part.state_dict().items()}
    queries, keys, values = (rows @ state[f"{name}.weight"].T for name in ("w_qs", "w_ks", "w_vs"))
    results = []
    for row, query in zip(rows, queries, strict=True):
        weight = np.exp(keys @ query / np.sqrt(rows.shape[1]))
        out = row + state["fc.weight"] @ (weight @ values / weight.sum()) + state["fc.bias"]
        normal = (out - out.mean()) / np.sqrt(out.var() + 1e-5)
        results.append(normal * state["layer_norm.weight"] + state["layer_norm.bias"])
    return np.stack(results)


def squared_distances(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.array([[((row - point) ** 2).sum() for point in points] for row in rows])


def rows_of(episodes: Episodes, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Support, its labels, queries, theirs, and the ways of an episode without padding."""
    assert episodes.query_labels is not None
    present = episodes.support_labels[i] >= 0
    support, query = episodes.support[i, present].double().numpy(), episodes.query[i].double().numpy()
    labels, query_labels = episodes.support_labels[i, present].numpy(), episodes.query_labels[i].numpy()
    return support, labels, query, query_labels, int(episodes.class_mask[i].sum())


def cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


def test_scores_are_distances_to_adapted_class_means_over_the_temperature(episodes: Episodes):
    assert episodes.learned is not None
    scores = Feat(temperature=4).classify(episodes).detach().numpy()
    for i in range(len(episodes)):
        support, labels, query, _, ways = rows_of(episodes, i)
        means = np.stack([support[labels == n].mean(axis=0) for n in range(ways)])
        expected = -squared_distances(query, adapted(episodes.learned, means)) / 4
        differences = scores[i, :, :ways] - scores[i, :, :1]
        np.testing.assert_allclose(differences, expected - expected[:, :1], rtol=1e-4, atol=1e-4)


def test_the_contrastive_loss_compares_every_image_with_the_means_of_adapted_images(episodes: Episodes):
    assert episodes.learned is not None
    losses = []
    for i in range(len(episodes)):
        support, labels, query, query_labels, ways = rows_of(episodes, i)
        images, of = np.concatenate([support, query]), np.concatenate([labels, query_labels])
        centres = np.stack([adapted(episodes.learned, images[of == n]).mean(axis=0) for n in range(ways)])
        losses.append(cross_entropies(-squared_distances(images, centres) / 8, of))
    method = Feat(contrastive_temperature=8, contrastive_weight=0.5)
    assert method.contrastive_loss(episodes).item() == pytest.approx(np.concatenate(losses).mean(), rel=1e-4)
    alone = Feat(contrastive_weight=0).loss(episodes)
    assert method.loss(episodes).item() == pytest.approx(alone.item() + 0.5 * np.concatenate(losses).mean(), rel=1e-4)


def test_dropout_is_on_in_training_only_and_drawn_from_the_episodes_seeds(make_episodes):
    episodes: Episodes = make_episodes()
    part = Feat().learned_part(nn.Identity(), 8, 5, Generator().manual_seed(2))
    given = replace(episodes, learned=part.train())
    state = torch.get_rng_state()
    first, again = Feat().classify(given), Feat().classify(given)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(first, again)
    assert not torch.allclose(first, Feat().classify(replace(given, seeds=given.seeds + 1)))
    assert not torch.allclose(first, Feat().classify(replace(given, learned=part.eval())))


def test_dropout_keeps_the_mean():
    part = SetTransformer(4).train()
    dropped = part._dropped(torch.ones(1, 50_000), 0.5, torch.tensor([5]), 0)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


def test_initial_values_depend_on_the_generator_alone_and_have_the_released_spread():
    part, again = (Feat().learned_part(nn.Identity(), 64, 5, Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(part.w_qs.weight, again.w_qs.weight)
    assert part.w_ks.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert {name.partition(".")[0] for name in part.state_dict()} == {"w_qs", "w_ks", "w_vs", "fc", "layer_norm"}


def test_a_temperature_must_be_positive():
    with pytest.raises(UsageError, match="contrastive_temperature=0: above 0"):
        Feat(contrastive_temperature=0)
