"""Fine-tuning of a head beside easyfsl's `Finetune`, with the same number of steps, on the same features in memory.

Both time the adaptation and the scores alone, without drawing episodes and looking their rows up. As test_speed.py, this is not
part of the ordinary tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from fewbench.methods.adaptation.finetune import Finetune
from fewbench.tasks.episodes import Episodes

WAYS, QUERIES, WIDTH, STEPS = 5, 15, 640, 50
CHUNK, TASKS = 64, 4  # episodes of ours and of theirs a round
THREADS = 2
AT_LEAST = 5  # times easyfsl's speed
ROUNDS = 5  # alternating, the best of each counts


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def made_up(shots: int) -> tuple[Episodes, np.ndarray]:
    """A chunk of episodes, and the true labels of their queries [Q], the same in all."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CHUNK, WAYS, WIDTH)) / 6
    support_labels, query_labels = np.tile(np.arange(WAYS), shots), np.tile(np.arange(WAYS), QUERIES)
    support, query = (
        torch.from_numpy(centres[:, labels] + random.normal(size=(CHUNK, len(labels), WIDTH))).float()
        for labels in (support_labels, query_labels)
    )
    labels, mask = torch.from_numpy(np.tile(support_labels, (CHUNK, 1))), torch.ones(CHUNK, WAYS, dtype=torch.bool)
    return Episodes(support, labels, query, WAYS, mask, torch.arange(CHUNK), tune="head"), query_labels


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.parametrize("shots", [1, 5])
def test_a_head_beside_easyfsl(shots: int, say: Callable[[str], None]):
    easyfsl = pytest.importorskip("easyfsl.methods")
    episodes, query_labels = made_up(shots)
    # Learning rates so small that both stay near their starts, class means: then their accuracies can be compared.
    method = Finetune(steps=STEPS, learning_rate=1e-5, scale=1.0)
    reference = easyfsl.Finetune(torch.nn.Identity(), fine_tuning_steps=STEPS, fine_tuning_lr=1e-5)

    def ours() -> torch.Tensor:
        with torch.no_grad():
            return method.classify(episodes)

    def theirs() -> torch.Tensor:
        scores = []
        for i in range(TASKS):
            with torch.no_grad():
                reference.process_support_set(episodes.support[i], episodes.support_labels[i])
                scores.append(reference(episodes.query[i]))
        return torch.stack(scores)

    right = [(scores[:TASKS].argmax(dim=2).numpy() == query_labels).mean() for scores in (ours(), theirs())]
    assert right[0] == pytest.approx(right[1], abs=0.05)  # and both are warm now
    times = [(seconds(theirs) / TASKS, seconds(ours) / CHUNK) for _ in range(ROUNDS)]
    their_time, our_time = np.min(times, axis=0)
    ratio = their_time / our_time
    rates = f"{1 / our_time:,.0f} episodes/s, easyfsl {1 / their_time:,.1f} tasks/s"
    say(f"finetune, head, {STEPS} steps, {WAYS}-way {shots}-shot: {rates}: {ratio:.1f} times as fast")
    assert ratio >= AT_LEAST
