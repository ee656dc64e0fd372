"""Relation networks, against the module of the paper on pairs of maps laid side by side."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import relu

from fewbench.benchmark.backbones.relation_encoder import RelationEncoder
from fewbench.core.errors import UserError
from fewbench.methods.metric.relation_net import RelationModule, RelationNet
from fewbench.tasks.episodes import Episodes

SIDE = 4
WIDTH = 64 * SIDE * SIDE


def relation_module(width: int = WIDTH) -> RelationModule:
    """With weights large enough that scores differ, and running statistics that are not those of the start."""
    part = RelationNet().learned_part(nn.Identity(), width, 5, Generator().manual_seed(0))
    generator = Generator().manual_seed(1)
    for name, value in part.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(generator=generator)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif name.startswith("fc"):
            value.normal_(std=0.3, generator=generator)
    return part.eval()


def side_by_side(part: RelationModule, classes: Tensor, query: Tensor) -> Tensor:
    """Relations [Q, N] before the sigmoid, as the authors' code computes them: one pair of maps after the other."""
    maps = [features.view(-1, 64, part.side, part.side) for features in (classes, query)]
    pairs = torch.stack([torch.cat([of_class, of_query]) for of_query in maps[1] for of_class in maps[0]])
    out = part.layer2(part.layer1(pairs)).flatten(1)
    return part.fc2(relu(part.fc1(out))).view(len(query), len(classes))


def sums_of(support: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([support[labels == n].sum(dim=0) for n in range(int(labels.max()) + 1)])


@pytest.mark.parametrize("shape", ["equal", "unequal"])
def test_scores_are_relations_of_query_maps_with_summed_support_maps(shape: str, make_episodes, make_unequal_episodes):
    episodes: Episodes = (make_episodes if shape == "equal" else make_unequal_episodes)(width=WIDTH)
    part = relation_module()
    with torch.no_grad():
        scores = RelationNet().classify(replace(episodes, learned=part))
        for i in range(len(episodes)):
            expected = side_by_side(part, sums_of(episodes.support[i], episodes.support_labels[i]), episodes.query[i])
            assert expected.std() > 0.1
            torch.testing.assert_close(scores[i, :, episodes.class_mask[i]], expected, rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_squared_error_of_the_sigmoid(make_unequal_episodes):
    episodes: Episodes = make_unequal_episodes(count=2, queries=3, width=WIDTH, seed=3)
    labels = torch.tensor([[0, 1, -1], [1, 0, 1]])
    given = replace(episodes, learned=relation_module(), query_labels=labels)
    relations = RelationNet().classify(given).sigmoid()
    errors = [
        (relations[e, q, n] - float(n == labels[e, q])) ** 2
        for e in range(2)
        for q in range(3)
        for n in range(episodes.ways)
        if labels[e, q] >= 0 and episodes.class_mask[e, n]
    ]
    torch.testing.assert_close(RelationNet().loss(given), torch.stack(errors).mean())


def image_episodes(size: int = 28) -> Episodes:
    generator = Generator().manual_seed(5)
    encoder = RelationEncoder().build(1, size, generator).eval().requires_grad_(False)
    return Episodes(
        support=torch.rand(2, 6, 1, size, size, generator=generator),
        support_labels=torch.arange(3).repeat(2, 2),
        query=torch.rand(2, 4, 1, size, size, generator=generator),
        ways=3,
        class_mask=torch.ones(2, 3, dtype=torch.bool),
        seeds=torch.arange(2),
        backbone=encoder,
        learned=relation_module(64 * 5 * 5),
        query_labels=torch.tensor([[0, 1, 2, 0], [1, 1, 2, 0]]),
    )


def test_with_statistics_of_the_batch_scores_are_those_of_networks_in_training_mode():
    episodes = image_episodes()
    assert isinstance(episodes.learned, RelationModule) and episodes.backbone is not None
    before = copy.deepcopy([episodes.learned.state_dict(), episodes.backbone.state_dict()])
    with torch.no_grad():
        scores = RelationNet(bn="batch").classify(episodes)
        part, encoder = copy.deepcopy(episodes.learned).train(), copy.deepcopy(episodes.backbone).train()
        for i in range(2):
            sums = sums_of(encoder(episodes.support[i]), episodes.support_labels[i])
            torch.testing.assert_close(scores[i], side_by_side(part, sums, encoder(episodes.query[i])), rtol=1e-4, atol=1e-4)
    for old, new in zip(before, (episodes.learned.state_dict(), episodes.backbone.state_dict()), strict=True):
        assert all(torch.equal(new[name], old[name]) for name in old)
    assert not episodes.learned.training and not episodes.backbone.training


def test_with_statistics_of_the_batch_training_moves_the_backbone_and_its_running_statistics():
    episodes = image_episodes()
    assert episodes.backbone is not None and episodes.learned is not None
    episodes.backbone.train().requires_grad_()
    running = episodes.backbone.state_dict()["layer1.1.running_mean"].clone()
    episodes.learned.train()
    RelationNet(bn="batch").loss(episodes).backward()
    # The bias of a convolution before a batch norm moves nothing.
    weights = [(name, value) for name, value in episodes.backbone.named_parameters() if not name.endswith("0.bias")]
    assert all(value.grad is not None and value.grad.any() for _, value in weights)
    assert not torch.equal(episodes.backbone.state_dict()["layer1.1.running_mean"], running)


def test_statistics_of_the_batch_are_transductive_and_need_images():
    batch, running = RelationNet(bn="batch"), RelationNet(bn="running")
    assert batch.transductive and not running.transductive and not RelationNet.transductive
    assert (batch.inputs_with("none"), running.inputs_with("none")) == ("images", "features")
    episodes = image_episodes()
    with pytest.raises(UserError, match="needs images and a backbone"):
        batch.classify(replace(episodes, backbone=None))
    episodes.support_labels[0, 5] = -1
    with pytest.raises(UserError, match="episodes of one shape; take bn=running"):
        batch.classify(episodes)


@pytest.mark.parametrize(("size", "fc1"), [(28, 64), (84, 576)])
def test_layers_have_the_released_names_and_shapes(size: int, fc1: int):
    with torch.no_grad():
        width = RelationEncoder().build(3, size, Generator()).eval()(torch.zeros(1, 3, size, size)).shape[1]
    state = RelationNet().learned_part(nn.Identity(), width, 5, Generator()).state_dict()
    layers = {f"layer{i}.1.{kind}": [64] for i in (1, 2) for kind in ("weight", "bias", "running_mean", "running_var")}
    assert {name: list(value.shape) for name, value in state.items() if not name.endswith("num_batches_tracked")} == {
        **layers,
        "layer1.0.weight": [64, 128, 3, 3],
        "layer1.0.bias": [64],
        "layer2.0.weight": [64, 64, 3, 3],
        "layer2.0.bias": [64],
        "fc1.weight": [8, fc1],
        "fc1.bias": [8],
        "fc2.weight": [1, 8],
        "fc2.bias": [1],
    }


@pytest.mark.parametrize("side", [4, 5, 9, 10, 19, 21])
def test_maps_of_any_size_from_four_on_last_through_both_poolings(side: int):
    part = relation_module(64 * side * side)
    classes, query = torch.randn(3, 64 * side * side), torch.randn(2, 64 * side * side)
    with torch.no_grad():
        torch.testing.assert_close(part(classes, query), side_by_side(part, classes, query), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [64, 64 * 9, 640, 1000])
def test_features_that_are_no_maps_or_too_small_are_refused(width: int):
    with pytest.raises(UserError, match=f"gives {width} features; take --backbone relation-encoder"):
        RelationNet().learned_part(nn.Identity(), width, 5, Generator())
