"""Seconds for an episode of P>M>F's fine-tuning, beside the loop that one writes without this package, in turn in one process.

    python -m pytest tests/speed/test_pmf_speed.py --override-ini addopts=--import-mode=importlib

5-way 1-shot, 15 queries a class. The plain loop copies the network and trains it with torch.optim.Adam, one pass for the
support and one for its changed copy at every step, all of the network each time. On a GPU, where there is one, the transformer
is a ViT-S.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from fewbench.benchmark.backbones.base import Backbone
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.timm_backbone import TimmBackbone
from fewbench.benchmark.backbones.tuning import unfreeze
from fewbench.methods.adaptation.pmf import PMF
from fewbench.methods.parts.augmentation import pseudo_queries
from fewbench.tasks.episodes import Episodes

WAYS, QUERIES, RATE = 5, 75, 1e-4
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = DEVICE.type == "cuda"
EPISODES = 4 if ON_GPU else 2
ROUNDS = 3  # alternating, the best of each counts
# Of the plain loop's speed. On a CPU both do the same arithmetic where the whole network moves.
AT_LEAST = {"full": 5.0 if ON_GPU else 0.9, "last-block": 5.0 if ON_GPU else 1.3}
VIT = "vit_small_patch16_224" if ON_GPU else "vit_tiny_patch16_224"
NETWORKS: dict[str, tuple[Backbone, int, int]] = {  # with the size of the images and the steps that are timed
    "conv4": (Conv4(), 84 if ON_GPU else 32, 50 if ON_GPU else 20),
    VIT: (TimmBackbone(VIT, {} if ON_GPU else {"img_size": 64}), 224 if ON_GPU else 64, 50 if ON_GPU else 10),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn_episodes(recipe: Backbone, size: int, tune: str, method: PMF) -> Episodes:
    generator = torch.Generator().manual_seed(0)
    network = unfreeze(recipe.build(3, size, generator).eval(), tune, recipe).to(DEVICE).to(memory_format=torch.channels_last)
    images = torch.randn(EPISODES * (WAYS + QUERIES), 3, size, size, generator=generator).to(DEVICE)
    images = images.contiguous(memory_format=torch.channels_last).unflatten(0, (EPISODES, WAYS + QUERIES))
    return Episodes(
        support=images[:, :WAYS],
        support_labels=torch.arange(WAYS, device=DEVICE).expand(EPISODES, -1),
        query=images[:, WAYS:],
        ways=WAYS,
        class_mask=torch.ones(EPISODES, WAYS, dtype=torch.bool, device=DEVICE),
        seeds=torch.arange(EPISODES, device=DEVICE),
        backbone=network,
        tune=tune,
        learned=method.learned_part(network, 1, WAYS, generator).to(DEVICE).requires_grad_(False),
    )


def plain(episodes: Episodes, method: PMF, copies: int) -> Tensor:
    """Scores [E, Q, N] without anything of this package but the changed copies."""
    assert episodes.backbone is not None
    scores = []
    for i in range(EPISODES):
        support, labels, seed = episodes.support[i], episodes.support_labels[i], episodes.seeds[i : i + 1]
        network = deepcopy(episodes.backbone)
        optimizer = torch.optim.Adam([value for value in network.parameters() if value.requires_grad], lr=RATE)

        def logits(images: Tensor, network: nn.Module = network, support: Tensor = support, labels: Tensor = labels) -> Tensor:
            features = network(support)
            prototypes = torch.stack([features[labels == n].mean(dim=0) for n in range(WAYS)])
            return 10 * normalize(network(images), dim=1) @ normalize(prototypes, dim=1).T

        for step in range(method.steps):
            copy = pseudo_queries(support[None], seed, step % copies, method.flip)[0]
            optimizer.zero_grad()
            cross_entropy(logits(copy), labels).backward()
            optimizer.step()
        with torch.no_grad():
            scores.append(logits(episodes.query[i]))
    return torch.stack(scores)


def seconds(work: Callable[[], object]) -> float:
    """Of the processor, whose one thread does it all, so that others on the machine do not count; on a GPU by the clock."""
    clock = time.perf_counter if ON_GPU else time.process_time
    start = clock()
    work()
    if ON_GPU:
        torch.cuda.synchronize()
    return clock() - start


@pytest.mark.parametrize("tune", AT_LEAST)
@pytest.mark.parametrize("network", NETWORKS)
def test_fine_tuning_beside_a_plain_loop(network: str, tune: str, say: Callable[[str], None]):
    recipe, size, steps = NETWORKS[network]
    method = PMF(learning_rate=RATE, steps=steps)
    episodes = drawn_episodes(recipe, size, tune, method)

    def ours() -> Tensor:
        with torch.no_grad():
            return method.classify(episodes)

    def theirs() -> Tensor:
        return plain(episodes, method, copies=10 if tune == "last-block" else steps)

    before, after = theirs(), ours()  # and both are warm now
    torch.testing.assert_close(after, before, rtol=0, atol=0.5 if ON_GPU else 0.01)  # of scores up to 10; bfloat16 on a GPU
    their_time, our_time = np.min([[seconds(theirs), seconds(ours)] for _ in range(ROUNDS)], axis=0) / EPISODES
    say(
        f"P>M>F, {network}, {size}×{size}, --tune {tune}, {steps} steps, {DEVICE.type}: {our_time:.3f} s an episode, "
        f"a plain loop {their_time:.3f} s: {their_time / our_time:.2f} times as fast"
    )
    assert their_time / our_time >= AT_LEAST[tune]
