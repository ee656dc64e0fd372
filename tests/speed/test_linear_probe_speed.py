"""The linear probe's batched fits beside one fit of scikit-learn's LogisticRegression an episode, on features in memory.

Both time the fits and the scores alone, without drawing episodes and looking their rows up. At its default tolerance
scikit-learn's scores are a tenth or two from the minimum's; at 1e-8 they are as near to it as those here, and that is the speed
to compare with. As test_speed.py, this is not part of the ordinary tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from fewbench.methods.linear.linear_probe import LinearProbe
from fewbench.methods.linear.scikit_learn import ScikitLearnMethod
from fewbench.tasks.episodes import Episodes

WAYS, QUERIES, WIDTH, COST = 5, 15, 512, 1.0
EPISODES, TASKS = {1: 256, 5: 256, 16: 64}, 8  # a round: of ours by shots, a chunk as a run has it, and of theirs
CHUNK = max(EPISODES.values())
THREADS = 1  # scikit-learn's fits, too, are of one
AT_LEAST = 1  # times scikit-learn's speed at like accuracy
ROUNDS = 3  # alternating, the best of each counts


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def made_up(shots: int, count: int) -> Episodes:
    """Episodes of classes that overlap."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CHUNK, WAYS, WIDTH)) / 6
    support, query = (
        torch.from_numpy(centres[:, labels] + random.normal(size=(CHUNK, len(labels), WIDTH))).float()[:count]
        for labels in (np.tile(np.arange(WAYS), shots), np.tile(np.arange(WAYS), QUERIES))
    )
    labels, mask = torch.arange(WAYS).repeat(count, shots), torch.ones(count, WAYS, dtype=torch.bool)
    return Episodes(support, labels, query, WAYS, mask, torch.arange(count))


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the one thread in a call: other work on the machine does not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("shots", [1, 5, 16])
def test_a_probe_beside_scikit_learn(shots: int, say: Callable[[str], None]):
    pytest.importorskip("sklearn")
    many, few = made_up(shots, EPISODES[shots]), made_up(shots, TASKS)
    few = replace(few, support=few.support.double(), query=few.query.double())  # what is fitted here in float64 anyhow
    ours, settings = LinearProbe(C=COST), {"C": COST, "max_iter": 10_000}
    loose, exact = (ScikitLearnMethod("linear_model.LogisticRegression", {**settings, "tol": tol}) for tol in (1e-4, 1e-8))
    agreement = ours.classify(many)[:TASKS].argmax(dim=-1) == exact.classify(few).argmax(dim=-1)  # and both are warm now
    assert agreement.float().mean() > 0.99
    sides = [(ours, many), (loose, few), (exact, few)]
    times = [[seconds(lambda s=side: s[0].classify(s[1])) / len(side[1]) for side in sides] for _ in range(ROUNDS)]
    our_time, loose_time, exact_time = np.min(times, axis=0)
    say(
        f"linear-probe (5-way {shots}-shot, width {WIDTH}): {1 / our_time:,.0f} episodes/s; scikit-learn, a fit an episode: "
        f"{1 / exact_time:,.0f} (tol 1e-8, {exact_time / our_time:.1f} times slower) and {1 / loose_time:,.0f} (its default)"
    )
    assert exact_time / our_time >= AT_LEAST
