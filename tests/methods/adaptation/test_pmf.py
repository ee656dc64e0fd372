from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, normalize

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.tuning import unfreeze
from fewbench.benchmark.evaluation.evaluate import Evaluator
from fewbench.benchmark.evaluation.source import Source
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.adaptation import pmf
from fewbench.methods.adaptation.pmf import PMF, RATES
from fewbench.methods.parts import pmf_finetuning
from fewbench.methods.parts.augmentation import pseudo_queries
from fewbench.methods.parts.frozen_part import FrozenPart
from fewbench.methods.parts.similarity import ScaledCosine
from fewbench.tasks.episodes import Episodes
from fewbench.tasks.samplers import UniformSampler

MakeImages = Callable[[Episodes, str], Episodes]
SCALE, BIAS = 7.0, 0.3


@pytest.fixture
def learned() -> ScaledCosine:
    part = ScaledCosine().requires_grad_(False)
    part.scale.fill_(SCALE)
    part.bias.fill_(BIAS)
    return part


@pytest.fixture
def make(make_episodes, make_unequal_episodes, make_images: MakeImages, learned: ScaledCosine) -> Callable[..., Episodes]:
    """Episodes of images."""

    def made(tune: str, unequal: bool = False, **shape: int) -> Episodes:
        episodes = (make_unequal_episodes if unequal else make_episodes)(**{"count": 2, "ways": 3, "width": 48, **shape})
        return replace(make_images(episodes, tune), learned=learned)

    return made


def scores_of(method: PMF, episodes: Episodes) -> Tensor:
    with torch.no_grad():
        return method.classify(episodes).masked_fill(~episodes.class_mask[:, None], 0)


def logits(features: Callable[[Tensor], Tensor], support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    """The paper's scores, for one episode."""
    mine = features(support)
    prototypes = torch.stack([mine[labels == n].mean(dim=0) for n in range(ways)])
    return SCALE * (normalize(features(query), dim=1) @ normalize(prototypes, dim=1).T + BIAS)


def test_what_is_not_moved_works_on_features(make_unequal_episodes, learned: ScaledCosine):
    assert {tune: PMF().inputs_with(tune) for tune in ("none", "head", "norm", "last-block", "lora", "full", "prompt")} == {
        "none": "features", "head": "features", "norm": "images", "last-block": "images", "lora": "images", "full": "images",
        "prompt": "images",
    }  # fmt: skip
    episodes = replace(make_unequal_episodes(), learned=learned)
    scores = PMF().classify(episodes)
    for i in range(len(episodes)):
        present, ways = episodes.support_labels[i] >= 0, int(episodes.class_mask[i].sum())
        support, labels = episodes.support[i, present], episodes.support_labels[i, present]
        torch.testing.assert_close(scores[i, :, :ways], logits(lambda x: x, support, labels, episodes.query[i], ways))


@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize(("tune", "copies"), [("full", None), ("last-block", 2), ("norm", None)])
def test_fine_tuning_is_that_of_torch(tune: str, copies: int | None, unequal: bool, make: Callable[..., Episodes]):
    episodes, steps, rate = make(tune, unequal), 3, 5e-3
    scores = scores_of(PMF(learning_rate=rate, steps=steps, copies=copies), episodes)
    backbone = episodes.backbone
    assert backbone is not None
    for i in range(len(episodes)):
        present, ways = episodes.support_labels[i] >= 0, int(episodes.class_mask[i].sum())
        support, labels, seed = episodes.support[i, present], episodes.support_labels[i, present], episodes.seeds[i : i + 1]
        moved = {name: x.detach().clone().requires_grad_() for name, x in backbone.named_parameters() if x.requires_grad}
        optimizer = torch.optim.Adam([*moved.values()], lr=rate)

        def features(images: Tensor, moved: dict[str, Tensor] = moved) -> Tensor:
            return functional_call(backbone, moved, (images,))

        for step in range(steps):
            copy = pseudo_queries(support[None], seed, step % (copies or steps), True)[0]
            optimizer.zero_grad()
            cross_entropy(logits(features, support, labels, copy, ways), labels).backward()
            optimizer.step()
        expected = logits(features, support, labels, episodes.query[i], ways).detach()
        start = logits(lambda x: backbone(x).detach(), support, labels, episodes.query[i], ways)
        assert (expected - start).abs().max() > 0.01
        torch.testing.assert_close(scores[i, :, :ways], expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("tune", ["full", "last-block"])
def test_together_and_one_by_one_are_the_same(tune: str, make: Callable[..., Episodes]):
    episodes = make(tune, count=3)
    together, apart = (
        scores_of(PMF(learning_rate=1e-3, steps=4, parallel=parallel), episodes) for parallel in ("vmap", "loop")
    )
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)
    assert torch.equal(apart, scores_of(PMF(learning_rate=1e-3, steps=4), episodes))  # on a CPU


@pytest.mark.parametrize("parallel", ["vmap", "loop"])
@pytest.mark.parametrize("tune", ["full", "last-block"])
def test_reduced_precision_as_on_a_gpu(
    tune: str, parallel: Literal["vmap", "loop"], make: Callable[..., Episodes], monkeypatch: pytest.MonkeyPatch
):
    recipe, method = Conv4(width=4, norm="group"), PMF(learning_rate=1e-3, steps=3, parallel=parallel)
    episodes = replace(
        make(tune), backbone=unfreeze(recipe.build(3, 16, torch.Generator().manual_seed(0)).eval(), tune, recipe)
    )
    expected = scores_of(method, episodes)
    monkeypatch.setattr(pmf_finetuning, "_precision", lambda *_: torch.autocast("cpu", torch.bfloat16))
    scores = scores_of(method, episodes)
    assert scores.dtype == torch.float32 and not torch.equal(scores, expected)
    torch.testing.assert_close(scores, expected, rtol=0, atol=0.1)


def test_what_there_is_no_memory_for_is_not_remembered(make: Callable[..., Episodes], monkeypatch: pytest.MonkeyPatch):
    episodes, method = make("last-block"), PMF(learning_rate=1e-3, steps=3, copies=2)
    expected = scores_of(method, episodes)
    monkeypatch.setattr(pmf_finetuning, "REMEMBERED", 0)
    torch.testing.assert_close(scores_of(method, episodes), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("tune", "settings", "passes"), [
    ("last-block", {"steps": 12}, 11), ("last-block", {"steps": 12, "copies": 3}, 4), ("full", {"steps": 4}, 4),
])  # fmt: skip
def test_the_first_block_sees_each_copy_once(
    tune: str, settings: dict[str, Any], passes: int, make: Callable[..., Episodes], monkeypatch: pytest.MonkeyPatch
):
    """Once the clean support, once each copy, and at the end support and queries; of a full fine-tuning every step."""
    episodes = make(tune, count=1)
    support, sizes = episodes.support.shape[1], []
    forward, find = nn.Conv2d.forward, pmf.frozen_part

    def spy(layer: nn.Conv2d, images: Tensor) -> Tensor:
        if layer.in_channels == 3:
            sizes.append(len(images))
        return forward(layer, images)

    def found(*arguments: Any) -> FrozenPart | None:
        part = find(*arguments)
        sizes.clear()  # it tries the network out
        return part

    monkeypatch.setattr(nn.Conv2d, "forward", spy)
    monkeypatch.setattr(pmf, "frozen_part", found)
    scores_of(PMF(learning_rate=1e-3, **settings), episodes)
    every = 2 * support if tune == "full" else support
    assert sizes == [every] * passes + [support + episodes.query.shape[1]]


def test_a_rate_of_zero_is_no_step(make: Callable[..., Episodes], monkeypatch: pytest.MonkeyPatch):
    episodes = make("full")
    assert episodes.backbone is not None
    with torch.no_grad():
        support, query = (episodes.backbone(x.flatten(0, 1)).view(*x.shape[:2], -1) for x in (episodes.support, episodes.query))
    expected = PMF().classify(replace(episodes, support=support, query=query, tune="none"))
    monkeypatch.setattr(pmf_finetuning, "Adam", None)
    torch.testing.assert_close(scores_of(PMF(learning_rate=0.0), episodes), expected, rtol=1e-4, atol=1e-4)


def test_an_episode_takes_the_smallest_rate_that_is_best_on_what_is_held_out(
    make: Callable[..., Episodes], monkeypatch: pytest.MonkeyPatch
):
    episodes = make("full", shots=3)
    right = {0.0: 4, 1e-4: 5, 5e-4: 7, 1e-3: 7, 1e-2: 2}
    monkeypatch.setattr(pmf, "_right", lambda tuning, fold, rate: right[rate])
    chosen = scores_of(PMF(learning_rate="auto-support", steps=2), episodes)
    torch.testing.assert_close(chosen, scores_of(PMF(learning_rate=5e-4, steps=2), episodes), rtol=1e-4, atol=1e-4)
    assert (chosen - scores_of(PMF(learning_rate=1e-2, steps=2), episodes)).abs().max() > 0.1


def test_rates_are_judged_by_the_images_that_are_held_out(make: Callable[..., Episodes]):
    episodes = make("full", count=1, shots=2)
    method = PMF(learning_rate="auto-support", steps=2)
    assert episodes.backbone is not None and isinstance(episodes.learned, ScaledCosine)
    tuning = method._fine_tuning(episodes, episodes.backbone, episodes.learned)
    ((supports, _),) = pmf._without_padding(episodes, one_by_one=True)
    for fold in pmf.folds_of(supports, True):
        with torch.no_grad():
            support, held = (episodes.backbone(x[0]) for x in (fold.supports.images, fold.images))
        expected = logits(lambda x: x, support, fold.supports.labels[0], held, episodes.ways).argmax(dim=1) == fold.labels
        assert pmf._right(tuning, fold, 0.0) == int(expected.sum())


class Drawn:
    """A split of 6 classes of 8 images, and episodes on it."""

    def __init__(self, learned: ScaledCosine, tune: str) -> None:
        recipe, random = Conv4(width=4), np.random.default_rng(0)
        tint = np.repeat(random.integers(0, 90, size=(6, 1, 1, 3)), 8, axis=0)
        images = (tint + random.integers(0, 160, size=(48, 16, 16, 3))).astype(np.uint8)
        backbone = unfreeze(recipe.build(3, 16, torch.Generator().manual_seed(0)).eval(), tune, recipe)
        preprocess = Preprocess(3, 16, (0.5,) * 3, (0.25,) * 3)
        device = torch.device("cpu")
        self.source = Source(device, None, images, preprocess, backbone, tune=tune, learned=learned)
        sampler = UniformSampler(np.arange(7) * 8, seed=2, ways=4, shots=2, queries=3)
        self.batch = sampler.draw(0, 3)


@pytest.mark.parametrize("rate", [1e-2, "auto-support"])
def test_labels_of_the_queries_are_never_read(rate: Any, learned: ScaledCosine):
    drawn, method = Drawn(learned, "last-block"), PMF(learning_rate=rate, steps=2)
    labels = drawn.batch.query_labels
    wrong = replace(drawn.batch, query_labels=(labels + 1) % 4)  # every one
    shuffled = replace(drawn.batch, query_labels=np.random.default_rng(1).permuted(labels, axis=1))
    evaluator = Evaluator(method, drawn.source, "pmf")
    honest, _ = next(evaluator.score(drawn.batch))
    for poisoned in (wrong, shuffled):
        scores, told = next(evaluator.score(poisoned))
        assert torch.equal(scores, honest)
        assert np.array_equal(told.numpy(), poisoned.query_labels)
    right, poisoned = (evaluator.accuracies(batch) for batch in (drawn.batch, wrong))
    assert not np.array_equal(right, poisoned)  # the labels are what the accuracy is of


def test_the_support_is_what_is_learned_from(learned: ScaledCosine):
    drawn, method = Drawn(learned, "last-block"), PMF(learning_rate=1e-2, steps=2)
    poisoned = replace(drawn.batch, support_labels=(drawn.batch.support_labels + 1) % 4)
    before, after = (next(Evaluator(method, drawn.source, "pmf").score(batch))[0] for batch in (drawn.batch, poisoned))
    assert not torch.allclose(before, after, atol=0.01)


def test_another_seed_draws_other_copies(make: Callable[..., Episodes]):
    episodes, method = make("full"), PMF(learning_rate=1e-3, steps=2)
    other = replace(episodes, seeds=episodes.seeds + torch.tensor([1, 0]))
    same = [torch.equal(a, b) for a, b in zip(scores_of(method, episodes), scores_of(method, other), strict=True)]
    assert same == [False, True]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "steps=0: at least 1"),
        ({"copies": 0}, "copies=0: at least 1"),
        ({"learning_rate": -1.0}, "learning_rate=-1: at least 0"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(options: dict[str, Any], says: str):
    with pytest.raises(UsageError, match=re.escape(says)):
        PMF(**options)


def test_a_scope_that_moves_the_backbone_needs_it(make_episodes, learned: ScaledCosine):
    with pytest.raises(UserError, match="pmf with --tune full needs images and a backbone; --tune none works on features"):
        PMF(learning_rate=1e-3).classify(replace(make_episodes(), learned=learned, tune="full"))


def test_the_rates_are_the_papers_with_none_first():
    assert PMF.choices["learning_rate"] == RATES == (0.0, 1e-4, 5e-4, 1e-3, 1e-2)
    assert PMF().undecided_with("full") == ("learning_rate",) and PMF().undecided_with("none") == ()
    assert PMF(learning_rate="auto-support").undecided_with("full") == ()
