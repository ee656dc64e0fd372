"""What every meta-trained method on features keeps to: its loss is finite, moves what it should, and falls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn

from fewbench.methods.adaptation.pmf import PMF
from fewbench.methods.base import Method
from fewbench.methods.linear.meta_opt_net import MetaOptNet
from fewbench.methods.linear.r2d2 import R2D2
from fewbench.methods.metric.feat import Feat
from fewbench.methods.metric.matching_net import MatchingNet
from fewbench.methods.metric.meta_baseline import MetaBaseline
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.methods.metric.relation_net import RelationNet
from fewbench.tasks.episodes import Episodes

METHODS = [
    Feat(),
    MatchingNet(),
    MatchingNet(full_context=True, steps=2),
    MetaBaseline(),
    MetaOptNet(),
    PMF(),
    ProtoNet(),
    ProtoNet(distance="cosine"),
    R2D2(),
    RelationNet(),
]
WITHOUT_GRADIENT = {"bias"}  # of R2D2 and P>M>F: it moves all scores alike


@pytest.fixture(params=METHODS, ids=lambda method: f"{type(method).__name__} {vars(method)}")
def method(request: pytest.FixtureRequest) -> Method:
    return request.param


def training_episodes(method: Method, episodes: Episodes, learned: nn.Module | None = None) -> Episodes:
    """With labels of the queries, drawn at random, some of them padding, and the learned part in training."""
    width = episodes.support.shape[-1]
    part = learned or method.learned_part(nn.Identity(), width, episodes.ways, Generator().manual_seed(0))
    queries = episodes.query.shape[:2]
    labels = torch.randint(0, 2**31, queries, generator=Generator().manual_seed(1)) % episodes.class_mask.sum(dim=1)[:, None]
    labels[:, -1] = -1
    return replace(episodes, learned=part and part.train(), query_labels=labels)


def test_gradients_are_finite_and_reach_features_and_learned_part(method: Method, make_unequal_episodes, width_for):
    episodes = training_episodes(method, make_unequal_episodes(width=width_for(method, 8)))
    episodes.support.requires_grad_()
    episodes.query.requires_grad_()
    method.loss(episodes).backward()
    for features in (episodes.support, episodes.query):
        assert features.grad is not None and features.grad.isfinite().all()
        assert (features.grad[:, :2].abs().amax(dim=-1) > 0).all()
    if episodes.learned is not None:
        for name, parameter in episodes.learned.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.any() or name in WITHOUT_GRADIENT, name


def test_padding_has_no_part_in_the_loss(method: Method, make_unequal_episodes, width_for):
    episodes = training_episodes(method, make_unequal_episodes(width=width_for(method, 8)))
    if episodes.learned is not None:
        episodes.learned.eval()  # dropout would draw other numbers for another shape, and so would the queries of a batch
    other = replace(episodes, support=episodes.support.clone(), query=episodes.query.clone())
    other.support[episodes.support_labels < 0] = -7
    other.query[:, -1] = 7
    assert other.query_labels is not None
    torch.testing.assert_close(method.loss(other), method.loss(episodes))
    longer = replace(
        other,
        support=nn.functional.pad(other.support, (0, 0, 0, 2), value=3),
        support_labels=nn.functional.pad(other.support_labels, (0, 2), value=-1),
        query=nn.functional.pad(other.query, (0, 0, 0, 1), value=3),
        query_labels=nn.functional.pad(other.query_labels, (0, 1), value=-1),
        class_mask=nn.functional.pad(other.class_mask, (0, 1), value=False),
        ways=other.ways + 1,
    )
    torch.testing.assert_close(method.loss(longer), method.loss(episodes))


class Task:
    """Queries and support of a class share two coordinates out of many; a linear backbone can find them."""

    def __init__(self, width: int) -> None:
        self.width = width

    def episodes(self, backbone: nn.Module, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encoded support [4, 5, D], its labels, encoded queries [4, 15, D] and theirs."""
        generator = Generator().manual_seed(step)
        centres = torch.randn(4, 5, 2, generator=generator) * 2

        def drawn(labels: Tensor) -> Tensor:
            images = torch.randn(*labels.shape, 12, generator=generator)
            images[..., :2] = centres.take_along_dim(labels[..., None], dim=1) + 0.1 * images[..., :2]
            return backbone(images)

        labels = [torch.arange(5).repeat(4, times) for times in (1, 3)]
        return drawn(labels[0]), labels[0], drawn(labels[1]), labels[1]


def test_the_loss_falls_in_a_few_steps(method: Method, width_for):
    width = width_for(method, 8)
    backbone = nn.Linear(12, width)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=Generator().manual_seed(3)) / 12**0.5)
    part = method.learned_part(backbone, width, 5, Generator().manual_seed(4))
    optimizer = torch.optim.Adam([*backbone.parameters(), *(part.parameters() if part else ())], lr=0.01)
    losses = []
    for step in range(40):
        support, support_labels, query, query_labels = Task(width).episodes(backbone, step)
        mask, seeds = torch.ones(4, 5, dtype=torch.bool), torch.arange(4) + 4 * step
        episodes = Episodes(support, support_labels, query, 5, mask, seeds, learned=part, query_labels=query_labels)
        loss = method.loss(episodes)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
