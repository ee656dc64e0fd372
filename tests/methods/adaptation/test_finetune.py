from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy, normalize

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.adaptation.finetune import Finetune
from fewbench.methods.parts.adaptation import AdaptableBackbone
from fewbench.tasks.episodes import Episodes

MakeImages = Callable[[Episodes, str], Episodes]


@pytest.fixture
def features(make_unequal_episodes: Callable[..., Episodes]) -> Episodes:
    return make_unequal_episodes(count=3, ways=4, width=48)


@pytest.mark.parametrize(
    ("settings", "tune", "inputs"),
    [
        ({}, "none", "features"),
        ({}, "head", "features"),
        ({}, "norm", "images"),
        ({}, "last-block", "images"),
        ({}, "lora", "images"),
        ({}, "prompt", "images"),
        ({}, "prompt-pool", "images"),
        ({}, "full", "images"),
        ({"augmentation": True}, "none", "features"),
        ({"augmentation": True}, "head", "images"),
        ({"statistics": "support"}, "none", "images"),
        ({"statistics": "queries"}, "head", "images"),
    ],
)
def test_features_do_where_the_backbone_sees_an_image_once(settings: dict[str, Any], tune: str, inputs: str):
    assert Finetune(**settings).inputs_with(tune) == inputs


def test_the_statistics_of_the_queries_make_it_transductive():
    assert {name: Finetune(statistics=name).transductive for name in ("running", "support", "queries")} == {
        "running": False,
        "support": False,
        "queries": True,
    }
    assert Finetune.transductive is False


def test_without_a_step_a_query_goes_to_the_nearest_class_mean_by_cosine(features: Episodes):
    scores = Finetune(scale=3.0).classify(replace(features, tune="none"))
    for i in range(len(features)):
        for n in range(int(features.class_mask[i].sum())):
            mine = features.support[i][features.support_labels[i] == n]
            mean = (mine / mine.norm(dim=1, keepdim=True)).mean(dim=0)
            cosine = features.query[i] @ mean / (features.query[i].norm(dim=1) * mean.norm())
            torch.testing.assert_close(scores[i, :, n], 3 * cosine, rtol=1e-4, atol=1e-4)


def test_a_head_is_the_same_on_features_and_on_their_images(features: Episodes, make_images: MakeImages):
    images = make_images(features, "head")
    assert images.backbone is not None
    with torch.no_grad():
        support, query = (images.backbone(x.flatten(0, 1)).view(*x.shape[:2], -1) for x in (images.support, images.query))
    expected = Finetune().classify(replace(features, support=support, query=query, tune="head"))
    assert not torch.allclose(expected, Finetune().classify(replace(features, support=support, query=query, tune="none")))
    torch.testing.assert_close(Finetune().classify(images), expected, rtol=1e-3, atol=1e-3)


def test_full_tuning_is_that_of_torch(features: Episodes, make_images: MakeImages):
    images = make_images(features, "full")
    method = Finetune(steps=3, learning_rate=0.02, backbone_learning_rate=0.004, weight_decay=0.1, scale=5.0)
    scores, backbone = method.classify(images), images.backbone
    assert backbone is not None
    for i in range(len(images)):
        present = images.support_labels[i] >= 0
        support, labels = images.support[i, present], images.support_labels[i, present]
        ways = int(images.class_mask[i].sum())
        moved = {name: value.detach().clone().requires_grad_() for name, value in backbone.named_parameters()}
        start = normalize(backbone(support), dim=1).detach()
        weights = torch.stack([normalize(start[labels == n].mean(dim=0), dim=0) for n in range(ways)]).requires_grad_()
        groups = [{"params": [weights], "lr": 0.02}, {"params": [*moved.values()], "lr": 0.004}]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.1)

        def logits(batch: Tensor, moved: dict[str, Tensor] = moved, weights: Tensor = weights) -> Tensor:
            return 5 * normalize(functional_call(backbone, moved, (batch,)), dim=1) @ normalize(weights, dim=1).T

        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(logits(support), labels).backward()
            optimizer.step()
        torch.testing.assert_close(scores[i, :, :ways], logits(images.query[i]).detach(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("tune", ["none", "norm", "head", "last-block", "lora", "prompt", "prompt-pool", "full"])
def test_exactly_the_freed_parameters_move(
    tune: str, features: Episodes, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
):
    if tune == "lora":
        pytest.importorskip("peft")
    images = make_images(features, tune)
    assert images.backbone is not None
    passed: list[dict[str, Tensor]] = []
    encode_queries = AdaptableBackbone.encode_queries

    def spy(backbone: AdaptableBackbone, parameters: dict[str, Tensor], queries: Tensor, support: Tensor) -> Tensor:
        passed.append(parameters)
        return encode_queries(backbone, parameters, queries, support)

    monkeypatch.setattr(AdaptableBackbone, "encode_queries", spy)
    Finetune(steps=2, augmentation=True).classify(images)
    before = dict(images.backbone.named_parameters())
    free = {name for name, value in before.items() if value.requires_grad}
    assert bool(free) == (tune not in ("none", "head"))
    assert len(passed) == len(images)
    for parameters in passed:
        assert {name for name, value in parameters.items() if not torch.equal(value, before[name])} == free


def test_the_seed_of_an_episode_decides_its_augmentation(features: Episodes, make_images: MakeImages):
    images, method = make_images(features, "norm"), Finetune(augmentation=True, backbone_learning_rate=0.01)
    other = replace(images, seeds=images.seeds + torch.tensor([1, 0, 0]))
    same = [torch.equal(a, b) for a, b in zip(method.classify(images), method.classify(other), strict=True)]
    assert same == [False, True, True]


def test_what_cannot_run_is_refused(features: Episodes, make_images: MakeImages):
    with pytest.raises(UsageError, match="steps=-1: at least 0"):
        Finetune(steps=-1)
    with pytest.raises(UserError, match="--tune norm and these settings needs images"):
        Finetune().classify(replace(features, tune="norm"))
    with pytest.raises(UserError, match="statistics=queries needs episodes of one shape"):
        Finetune(statistics="queries").classify(make_images(features, "norm"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": -1}, "steps=-1: at least 0"),
        ({"learning_rate": -1.0}, "learning_rate=-1: above 0"),
        ({"backbone_learning_rate": -1.0}, "backbone_learning_rate=-1: at least 0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1: at least 0"),
        ({"scale": 0.0}, "scale=0: above 0"),
    ],
)
def test_what_cannot_be_trained_with_is_refused(options: dict, says: str):
    with pytest.raises(UsageError, match=re.escape(says)):
        Finetune(**options)


@pytest.mark.parametrize("statistics", ["support", "queries"])
def test_statistics_of_an_episode_need_a_batch_norm(
    statistics: Literal["support", "queries"], make_episodes: Callable[..., Episodes], make_images: MakeImages
):
    episodes = make_images(make_episodes(count=1, width=48), "full")
    network = Conv4(width=8, norm="group").build(episodes.support.shape[2], 16, torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="the backbone has no batch norm; leave it at running"):
        Finetune(statistics=statistics).classify(replace(episodes, backbone=network, tune="full"))
