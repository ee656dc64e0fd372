"""Each recipe against its formula computed by loops, or against values found by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from fewbench.benchmark.training.loop.learner import Part
from fewbench.benchmark.training.recipes import RECIPES, find_recipe
from fewbench.benchmark.training.recipes.barlow_twins import cross_correlation, terms
from fewbench.benchmark.training.recipes.base import ImageLearner, Material
from fewbench.benchmark.training.recipes.dino import Dino, DinoLearner, cross_entropy_of_views, entropy
from fewbench.benchmark.training.recipes.projection import linear, projection
from fewbench.benchmark.training.recipes.rotation import all_rotations
from fewbench.benchmark.training.recipes.simclr import similarities
from fewbench.core.errors import UsageError
from fewbench.core.options import build


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_nt_xent_is_the_formula() -> None:
    first, second = torch.randn(2, 5, 3, generator=seeded()).unbind()
    scores, partner = similarities(first, second, 0.3)
    loss = nn.functional.cross_entropy(scores, partner)
    z = [row.numpy() / np.linalg.norm(row.numpy()) for row in torch.cat([first, second])]
    total = 0.0
    for i in range(10):
        j = (i + 5) % 10
        others = sum(math.exp(z[i] @ z[k] / 0.3) for k in range(10) if k != i)
        total -= math.log(math.exp(z[i] @ z[j] / 0.3) / others)
    assert loss.item() == pytest.approx(total / 10, rel=1e-5)


SQUARE = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # two units without correlation


@pytest.mark.parametrize(
    ("second", "invariance", "redundancy"),
    [
        (SQUARE, 0, 0),
        (3 * SQUARE + 7, 0, 0),  # scale and mean do not count
        (-SQUARE, 8, 0),
        (SQUARE.flip(1), 2, 2),
        (SQUARE[:, :1].expand(4, 2), 1, 1),  # both units say what the first one does
    ],
)
def test_barlow_twins_has_known_values(second: Tensor, invariance: float, redundancy: float) -> None:
    found = terms(cross_correlation(SQUARE, second))
    assert [value.item() for value in found] == pytest.approx([invariance, redundancy], abs=1e-3)


def test_cross_correlation_is_pearson_s() -> None:
    first, second = torch.randn(2, 20, 4, generator=seeded()).unbind()
    together = np.corrcoef(first.numpy().T, second.numpy().T)
    assert cross_correlation(first, second).numpy() == pytest.approx(together[:4, 4:], abs=1e-4)


def test_dino_compares_each_teacher_crop_with_every_other_student_crop() -> None:
    targets = torch.randn(2, 3, 4, generator=seeded()).softmax(dim=2)
    guesses = torch.randn(5, 3, 4, generator=seeded(1))
    total, pairs = 0.0, 0
    for t in range(2):
        for s in range(5):
            if s == t:
                continue
            for image in range(3):
                log = np.log(np.exp(guesses[s, image].numpy()) / np.exp(guesses[s, image].numpy()).sum())
                total -= float((targets[t, image].numpy() * log).sum())
                pairs += 1
    assert cross_entropy_of_views(targets, guesses).item() == pytest.approx(total / pairs, rel=1e-5)
    assert cross_entropy_of_views(torch.eye(4)[None, :2].expand(2, 2, 4), torch.zeros(2, 2, 4)).item() == pytest.approx(
        math.log(4)
    )


def test_the_teacher_follows_the_student_and_then_stands_still(material: Material, learner_of) -> None:
    learner = learner_of("dino", material, momentum=0.9)
    assert isinstance(learner, DinoLearner)
    before = [parameter.clone() for parameter in learner.backbone.parameters()]
    with torch.no_grad():
        for parameter in learner.student.parameters():
            parameter.add_(1)
    learner.after_step(material.steps)
    assert all(torch.equal(now, was) for now, was in zip(learner.backbone.parameters(), before, strict=True))
    learner.after_step(0)
    for now, was in zip(learner.backbone.parameters(), before, strict=True):
        assert torch.allclose(now, was + 0.1, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in learner.backbone.parameters())


def test_the_centre_is_a_moving_mean_of_the_teacher_s_scores(material: Material, learner_of) -> None:
    learner = learner_of("dino", material, centre_momentum=0.75, prototypes=16)
    assert isinstance(learner, DinoLearner)
    batch = learner.batch(0, Part())
    learner.train()
    with torch.no_grad():
        scores = learner.head(learner.backbone(batch[: 2 * 24]))
        learner(batch)
    assert torch.allclose(learner.centre, scores.mean(dim=0) / 4, atol=1e-6)
    learner.eval()
    centre = learner.centre.clone()
    learner(batch)
    assert torch.equal(learner.centre, centre)


class Scores(nn.Module):
    """The same scores whatever comes."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, features: Tensor) -> Tensor:
        return self.scores[: len(features)]


@pytest.mark.parametrize(
    ("scores", "batch_entropy", "image_entropy"),
    [
        (torch.eye(16)[0].expand(48, 16), 0, 0),  # collapsed to one prototype
        (torch.zeros(48, 16), math.log(16), math.log(16)),  # collapsed to all prototypes alike
        (torch.eye(16).repeat(3, 1), math.log(16), 0),  # sure of each image, and spread over them
    ],
)
def test_the_teacher_s_entropies_tell_both_ways_to_collapse(
    material: Material, learner_of, scores: Tensor, batch_entropy: float, image_entropy: float
) -> None:
    learner = learner_of("dino", material, prototypes=16)
    learner.head = Scores(scores)
    figures = learner(learner.batch(0, Part()))[1]
    assert figures["batch_entropy"].item() == pytest.approx(batch_entropy, abs=1e-4)
    assert figures["image_entropy"].item() == pytest.approx(image_entropy, abs=1e-4)


def test_entropy_is_the_formula() -> None:
    values = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    assert entropy(values).tolist() == pytest.approx([1.5 * math.log(2), 0])


def test_crops_for_the_student_alone_are_smaller(material: Material, learner_of) -> None:
    learner = learner_of("dino", material, small_crops=3, border=0.5, smallest_area=0.3)
    assert [kind.areas for kind in learner.kinds] == [(0.5, 1.0)] * 2 + [(0.3, 0.5)] * 3  # type: ignore[attr-defined]
    assert learner.batch(0, Part()).shape == (5 * 24, 3, 16, 16)


def test_every_image_comes_in_all_four_rotations() -> None:
    images = torch.rand(3, 2, 4, 4, generator=seeded())
    turned, turns = all_rotations(images)
    for place, (image, turn) in enumerate(zip(turned, turns, strict=True)):
        assert np.array_equal(image.numpy(), np.rot90(images[place % 3].numpy(), int(turn), axes=(1, 2)))
    assert turns.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


@pytest.mark.parametrize("name", RECIPES)
def test_steps_lower_the_loss_and_every_parameter_moves(name: str, material: Material, learner_of) -> None:
    # DINO's student here learns what a teacher says that stands still: otherwise targets and loss move together.
    fixed = {"momentum": 1.0, "centre_momentum": 1.0} if name == "dino" else {}
    learner = learner_of(name, material, **fixed).train()
    moving = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    before, optimizer = [parameter.detach().clone() for parameter in moving], torch.optim.AdamW(moving, lr=1e-3)
    losses = []
    for step in range(25):
        loss, figures = learner(learner.batch(0, Part()))
        assert all(figure.dim() == 0 and not figure.requires_grad for figure in figures.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.after_step(step)
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.97 * losses[0]
    still = [now.shape for now, was in zip(moving, before, strict=True) if torch.equal(now, was)]
    assert not still


@pytest.mark.parametrize("name", RECIPES)
def test_a_batch_is_a_function_of_step_and_part(name: str, material: Material, learner_of) -> None:
    one, other = learner_of(name, material), learner_of(name, material)
    other.batch(0, Part())

    def images(learner: ImageLearner, step: int, part: Part) -> Tensor:
        batch = learner.batch(step, part)
        return batch if isinstance(batch, Tensor) else batch[0]

    assert torch.equal(images(one, 3, Part(1, 2)), images(other, 3, Part(1, 2)))
    assert not torch.equal(images(one, 3, Part(1, 2)), images(one, 3, Part(0, 2)))
    assert not torch.equal(images(one, 3, Part()), images(one, 4, Part()))
    assert 2 * len(images(one, 3, Part(1, 2))) == len(images(one, 3, Part()))
    assert images(one, 3, Part()).is_contiguous(memory_format=torch.channels_last)


def test_heads_draw_from_their_generator_alone() -> None:
    state = torch.random.get_rng_state()
    one, same, other = (projection((4, 8, 3), seeded(seed), batch_norm=True) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    first, again, changed = (next(head.parameters()) for head in (one, same, other))
    assert torch.equal(first, again) and not torch.equal(first, changed)
    assert [type(layer).__name__ for layer in one] == ["_Linear", "BatchNorm1d", "ReLU", "_Linear"]
    weight = linear(100, 500, seeded()).weight
    assert weight.abs().max() <= 0.1 and weight.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("simclr", {"temperature": 0}, "recipe simclr: temperature=0: at least 0.001"),
        ("simclr", {"temperature": math.nan}, "temperature=nan"),
        ("barlow-twins", {"redundancy": -1.0}, "redundancy=-1: at least 0"),
        ("dino", {"momentum": 1.5}, "momentum=1.5: from 0 to 1"),
        ("dino", {"smallest_area": 0.0}, "recipe dino: smallest_area=0: from 0.01 to 1"),
        ("simclr", {"temprature": 1}, "did you mean 'temperature'"),
        ("rotation", {"temperature": 1}, "it has none"),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, values: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(find_recipe(name), values, f"recipe {name}")


def test_an_unknown_recipe_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown recipe 'simclear'; did you mean 'simclr'"):
        find_recipe("simclear")


def test_grey_images_have_larger_crops() -> None:
    assert Dino().area(1) > Dino().area(3)
    assert Dino(smallest_area=0.7).area(1) == 0.7


@pytest.mark.parametrize("name", RECIPES)
def test_the_version_is_raised_where_the_weights_change(name: str, material: Material, learner_of, same_as_known):
    """By the losses of a few steps of gradient descent."""
    learner = learner_of(name, material).train()
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    losses = []
    for step in range(3):
        loss, _ = learner(learner.batch(step, Part()))
        losses.append(float(f"{loss.item():.6g}"))
        with torch.no_grad():
            for parameter, gradient in zip(trained, torch.autograd.grad(loss, trained), strict=True):
                parameter -= 1e-3 * gradient
        learner.after_step(step)
    same_as_known(Path(__file__).with_name("known_losses.json"), name, find_recipe(name).version, {"loss": losses})
