"""Full-context embeddings of matching networks, against the paper's equations in plain loops, and what depends on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, nn

from fewbench.benchmark.evaluation.plan import make_method
from fewbench.core.errors import UsageError
from fewbench.methods.metric.matching_net import FullContext, MatchingNet
from fewbench.tasks.episodes import Episodes


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_cell(x: np.ndarray, h: np.ndarray, c: np.ndarray, weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One step of an LSTM with torch's order of gates: input, forget, cell, output."""
    of_input, of_hidden, bias, other_bias = weights
    i, f, g, o = np.split(of_input @ x + of_hidden @ h + bias + other_bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def read_in_order(rows: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    h = c = np.zeros(rows.shape[1])
    outputs = []
    for row in rows:
        h, c = lstm_cell(row, h, c, weights)
        outputs.append(h)
    return np.stack(outputs)


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def expected_scores(part: FullContext, episodes: Episodes, i: int, steps: int) -> np.ndarray:
    """Scores [Q, N] of an episode."""
    state = {name: value.double().numpy() for name, value in part.state_dict().items()}
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    forward, backward = ([state[f"support_lstm.{kind}_l0{suffix}"] for kind in kinds] for suffix in ("", "_reverse"))
    cell = [state[f"query_cell.{kind}"] for kind in kinds]
    rows = [
        (int(n), x.double().numpy()) for n, x in zip(episodes.support_labels[i], episodes.support[i], strict=True) if n >= 0
    ]
    labels = np.array(sorted(n for n, _ in rows))
    support = np.stack([x for n in range(episodes.ways) for label, x in rows if label == n])
    support = support + read_in_order(support, forward) + read_in_order(support[::-1], backward)[::-1]
    scores = []
    for query in episodes.query[i].double().numpy():
        h, c = query, np.zeros_like(query)
        for _ in range(steps):
            reading = softmax(support @ h) @ support
            output, c = lstm_cell(np.concatenate([query, reading]), h, c, cell)
            h = output + query
        attention = softmax(support @ h / np.linalg.norm(support, axis=1) / np.linalg.norm(h))
        scores.append([attention[labels == n].sum() for n in range(episodes.ways)])
    return np.array(scores)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("shape", ["equal", "unequal"])
def test_scores_are_those_of_the_papers_equations(shape: str, steps: int, make_episodes, make_unequal_episodes):
    episodes: Episodes = make_episodes() if shape == "equal" else make_unequal_episodes()
    method = MatchingNet(full_context=True, steps=steps)
    part = method.learned_part(nn.Identity(), 8, 5, Generator().manual_seed(2))
    assert part is not None
    with torch.no_grad():
        scores = method.classify(replace(episodes, learned=part))
    for i in range(len(episodes)):
        np.testing.assert_allclose(scores[i].numpy(), expected_scores(part, episodes, i, steps), rtol=1e-4, atol=1e-6)


def test_the_classes_may_come_in_any_order(make_episodes):
    episodes: Episodes = make_episodes(shots=1)
    method = MatchingNet(full_context=True)
    part = method.learned_part(nn.Identity(), 8, 5, Generator().manual_seed(2))
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = replace(episodes, support=episodes.support[:, order], support_labels=episodes.support_labels[:, order])
    scores, expected = (method.classify(replace(e, learned=part)) for e in (shuffled, episodes))
    torch.testing.assert_close(scores, expected)


def test_a_scale_sharpens_the_attention(make_episodes):
    episodes = make_episodes(count=3, shots=1)
    cosine = torch.nn.functional.cosine_similarity(episodes.query[:, :, None], episodes.support[:, None], dim=-1)
    torch.testing.assert_close(MatchingNet(scale=7).classify(episodes), (7 * cosine).softmax(dim=-1))
    with pytest.raises(UsageError, match="scale=0: above 0"):
        MatchingNet(scale=0)


def test_a_query_without_any_attention_to_its_class_still_teaches(make_episodes):
    episodes = make_episodes(count=1, shots=1, queries=1)
    query = episodes.support[:, :1].clone().requires_grad_()
    wrong = replace(episodes, query=query, query_labels=torch.tensor([[1]]))
    MatchingNet(scale=1000).loss(wrong).backward()
    assert query.grad is not None and query.grad.abs().max() > 0


def test_only_full_context_embeddings_need_training():
    assert MatchingNet(full_context=True).needs_training and not MatchingNet().needs_training
    assert MatchingNet().learned_part(nn.Identity(), 8, 5, Generator()) is None


def test_the_loss_is_minus_the_logarithm_of_the_true_class_attention(make_episodes):
    episodes: Episodes = make_episodes(count=2, queries=3)
    labels = torch.tensor([[0, 3, -1], [4, 4, 1]])
    scores = MatchingNet().classify(episodes)
    chosen = [scores[e, q, n] for e, q, n in [(0, 0, 0), (0, 1, 3), (1, 0, 4), (1, 1, 4), (1, 2, 1)]]
    expected = -torch.stack(chosen).log().mean()
    torch.testing.assert_close(MatchingNet().loss(replace(episodes, query_labels=labels)), expected)


def test_a_query_reads_at_least_once():
    with pytest.raises(UsageError, match="at least 1"):
        MatchingNet(full_context=True, steps=0)


@pytest.mark.parametrize("name", ["matching-net", "protonet"])
def test_records_from_before_a_parameter_keep_their_identity(name: str):
    assert make_method(name, {})[1].parameters == {}


def test_a_parameter_that_was_set_is_part_of_the_record():
    assert make_method("matching-net", {"full_context": "true"})[1].parameters == {"full_context": True}
    assert make_method("protonet", {"distance": "cosine"})[1].parameters == {"distance": "cosine"}
