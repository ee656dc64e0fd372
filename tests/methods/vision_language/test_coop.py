"""CoOp's scores against training by autograd and the library's optimiser, and on a text tower of open_clip's classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from fewbench.benchmark.backbones.clip.clip_tiny import ClipTiny
from fewbench.benchmark.backbones.clip.text_tower import TextTower, build_text_tower
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.vision_language.coop import CoOp
from fewbench.tasks.episodes import Episodes


def prompt_features(tower: nn.Module, context: Tensor, names: tuple[str, ...]) -> Tensor:
    """Text features [N, D] at length 1, one prompt at a time: start, context, name, full stop and the rest."""
    features = []
    for name in names:
        tokens = tower.tokenize([f"{'x ' * len(context)}{name}."])  # pyright: ignore[reportCallIssue]
        embedded = tower.embed(tokens).to(context.dtype)  # pyright: ignore[reportCallIssue]
        embedded[0, 1 : 1 + len(context)] = context
        features.append(tower.encode(embedded, tokens)[0])  # pyright: ignore[reportCallIssue]
    return normalize(torch.stack(features), dim=-1)


def trained_by_autograd(episodes: Episodes, i: int, start: Tensor, steps: int, rate: float) -> Tensor:
    """Scores [Q, N] of episode i by the released code's optimiser."""
    present, context = episodes.support_labels[i] >= 0, nn.Parameter(start.clone())
    assert episodes.text_tower is not None and episodes.class_names is not None
    tower, names = episodes.text_tower, episodes.class_names[i]
    optimizer = torch.optim.SGD([context], lr=rate, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = 100 * normalize(episodes.support[i, present], dim=-1) @ prompt_features(tower, context, names).T
        cross_entropy(logits, episodes.support_labels[i, present]).backward()
        optimizer.step()
        schedule.step()
    return 100 * normalize(episodes.query[i], dim=-1) @ prompt_features(tower, context.detach(), names).T


@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_scores_are_those_of_autograd_and_the_library_optimiser(kind: str, make_episodes, make_unequal_episodes):
    episodes: Episodes = make_episodes(count=3) if kind == "equal" else make_unequal_episodes(count=3)
    scores, untrained = CoOp(steps=8).classify(episodes), CoOp(steps=0).classify(episodes)
    assert (scores - untrained).abs().max() > 1
    tower = episodes.text_tower
    assert tower is not None
    start = tower.embed(tower.tokenize(["a photo of a"]))[0, 1:5]  # pyright: ignore[reportCallIssue]
    for i in range(len(episodes)):
        ways = int(episodes.class_mask[i].sum())
        expected = trained_by_autograd(episodes, i, start, steps=8, rate=0.002)
        torch.testing.assert_close(scores[i, :, :ways], expected, rtol=1e-3, atol=1e-2)


def random_contexts(episodes: Episodes, tokens: int) -> Tensor:
    """The random start of each episode's context, [E, tokens, W]."""
    method = CoOp(context=None, tokens=tokens, steps=0)
    seen = []
    assert episodes.text_tower is not None

    class Watched(nn.Module):
        tower = episodes.text_tower

        def tokenize(self, texts: list[str]) -> Tensor:
            return self.tower.tokenize(texts)  # pyright: ignore

        def embed(self, tokens: Tensor) -> Tensor:
            return self.tower.embed(tokens)  # pyright: ignore

        def encode(self, embedded: Tensor, tokens: Tensor) -> Tensor:
            seen.append(embedded)
            return self.tower.encode(embedded, tokens)  # pyright: ignore

    method.classify(replace(episodes, text_tower=Watched()))
    return seen[0][:: episodes.ways, 1 : 1 + tokens]


def test_a_random_context_is_normal_with_deviation_0_02_and_another_one_in_every_episode(make_episodes):
    contexts = random_contexts(make_episodes(count=30, width=64), tokens=16)
    assert contexts.std().item() == pytest.approx(0.02, rel=0.03)
    assert contexts.mean().item() == pytest.approx(0, abs=0.001)
    assert (contexts.abs() < 0.02).float().mean().item() == pytest.approx(0.683, abs=0.02)
    assert len(contexts.flatten(1).unique(dim=0)) == 30


@pytest.fixture(scope="module")
def tower() -> TextTower:
    """A text tower of open_clip's classes with initial weights."""
    recipe = ClipTiny()
    return TextTower(build_text_tower(recipe.model, recipe.owner), recipe.tokenizer(), recipe.owner).eval()


def test_an_untrained_context_of_words_is_zero_shot_with_them(tower: TextTower, make_episodes):
    names = tuple(("red circle", "small dog", "striped green square") for _ in range(2))
    episodes = replace(make_episodes(count=2, ways=3, width=64), text_tower=tower, class_names=names)
    with torch.no_grad():
        text = normalize(tower(tower.tokenize([f"a photo of a {name}." for name in names[0]])), dim=-1)
        scores = CoOp(steps=0).classify(episodes)
    torch.testing.assert_close(scores, 100 * normalize(episodes.query, dim=-1) @ text.T, rtol=1e-4, atol=1e-3)


def test_training_on_a_tower_of_open_clip_lowers_the_loss_and_leaves_the_tower_alone(tower: TextTower, make_episodes):
    names = tuple(("red circle", "small dog", "striped green square") for _ in range(2))
    episodes = make_episodes(count=2, ways=3, shots=3, width=64)
    episodes = replace(episodes, text_tower=tower, class_names=names, query=episodes.support)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    losses = []
    for method in (CoOp(context=None, steps=0), CoOp(context=None)):
        scores = method.classify(episodes).detach()
        losses.append(cross_entropy(scores.flatten(0, 1), episodes.support_labels.flatten()))
    assert losses[1] < 0.8 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())
    assert all(parameter.grad is None for parameter in tower.parameters())


@pytest.mark.parametrize("values", [{"text_tower": None}, {"class_names": None}])
def test_episodes_without_a_tower_or_names_are_told_the_cure(values: dict[str, None], make_episodes):
    with pytest.raises(UserError, match="--backbone clip-tiny"):
        CoOp().classify(replace(make_episodes(), **values))


@pytest.mark.parametrize("values", [{"context": " "}, {"tokens": 0}, {"steps": -1}, {"learning_rate": 0.0}])
def test_a_context_that_cannot_be_learned_is_refused(values: dict[str, float]):
    with pytest.raises(UsageError, match=r"^coop: context|^CoOp: "):
        CoOp(**values)  # pyright: ignore[reportArgumentType]
