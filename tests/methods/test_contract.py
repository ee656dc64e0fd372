"""What every method keeps to: scores go with their episode and query, padding is not there, nothing overflows."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fewbench.benchmark import registry
from fewbench.benchmark.built_in import BUILT_IN
from fewbench.methods.base import Method
from fewbench.methods.linear.baseline import Baseline
from fewbench.methods.linear.ciw import CIW
from fewbench.methods.linear.linear_probe import LinearProbe
from fewbench.methods.metric.matching_net import MatchingNet
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.methods.transductive.tim import TIM
from fewbench.methods.vision_language.coop import CoOp
from fewbench.tasks.episodes import Episodes

QUICK = {"alpha-tim": {"steps": 100}, "ilpc": {"steps": 100}}
VARIANTS = {
    "baseline optimizer=adam": Baseline(optimizer="adam"),
    "baseline optimizer=locoprop": Baseline(optimizer="locoprop", learning_rate=1.0),
    "ciw optimizer=locoprop": CIW(optimizer="locoprop", learning_rate=1.0),
    "coop context=none": CoOp(context=None, tokens=4),
    "linear-probe C=1e6": LinearProbe(C=1e6),
    "linear-probe normalised=true": LinearProbe(C=1.0, normalised=True),
    "matching-net full_context=true": MatchingNet(full_context=True),
    "protonet distance=cosine": ProtoNet(distance="cosine"),
    "tim solver=gd": TIM(solver="gd", steps=100),
}


# Methods on images have the contract of test_image_contract.py and of their own tests.
ON_FEATURES = [
    name
    for name in sorted(BUILT_IN["methods"])
    if not name.endswith(":NAME") and registry.load(registry.find("methods", name)).inputs == "features"
]


@pytest.fixture(params=[*ON_FEATURES, *VARIANTS])
def method(request: pytest.FixtureRequest, decided) -> Method:
    return decided(
        VARIANTS.get(request.param) or registry.load(registry.find("methods", request.param))(**QUICK.get(request.param, {}))
    )


@pytest.fixture(params=["equal", "unequal"])
def episodes(request: pytest.FixtureRequest, method: Method, make_episodes, make_unequal_episodes, width_for) -> Episodes:
    make = make_episodes if request.param == "equal" else make_unequal_episodes
    return replace(make(count=6, width=width_for(method, 8)), tune="head" if method.adapts else "none")


def taken(episodes: Episodes, index: Tensor) -> Episodes:
    """The episodes at `index`."""
    columns = ("support", "support_labels", "query", "class_mask", "seeds", "text")
    assert episodes.class_names is not None
    names = tuple(episodes.class_names[i] for i in index)
    return replace(episodes, class_names=names, **{name: getattr(episodes, name)[index] for name in columns})


def padded(episodes: Episodes, support: int, queries: int, ways: int) -> Episodes:
    """The same episodes with further places of padding, filled with features that would show if they were used."""

    def longer(features: Tensor, places: int) -> Tensor:
        return torch.cat([features, torch.full_like(features[:, :1], 77).repeat(1, places, 1)], dim=1)

    assert episodes.text is not None
    count, asked, _ = episodes.query.shape
    return replace(
        episodes,
        text=torch.nn.functional.pad(episodes.text, (0, 0, 0, ways)),
        support=longer(episodes.support, support),
        support_labels=torch.nn.functional.pad(episodes.support_labels, (0, support), value=-1),
        query=longer(episodes.query, queries),
        query_mask=(torch.arange(asked + queries) < asked).expand(count, -1),
        class_mask=torch.nn.functional.pad(episodes.class_mask, (0, ways), value=False),
        ways=episodes.ways + ways,
    )


def with_learned_part(method: Method, episodes: Episodes) -> Episodes:
    """The episodes with what the method learns, at its initial values, where they do not have it yet."""
    if episodes.learned is not None:
        return episodes
    generator = torch.Generator().manual_seed(0)
    part = method.learned_part(nn.Identity(), episodes.support.shape[-1], episodes.ways, generator)
    return episodes if part is None else replace(episodes, learned=part.eval().requires_grad_(False))


def scores_of(method: Method, episodes: Episodes) -> Tensor:
    """The scores, 0 where an episode has no such class."""
    with torch.no_grad():
        scores = method.classify(with_learned_part(method, episodes))
    assert scores.shape == (len(episodes), episodes.query.shape[1], episodes.ways)
    return scores.masked_fill(~episodes.class_mask[:, None], 0)


def assert_same(scores: Tensor, expected: Tensor) -> None:
    """Equal but for rounding, which is in proportion to the largest scores, of which small ones are differences."""
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=2e-5 * max(1, expected.abs().max().item()))


def test_permuted_episodes_permute_the_scores(method: Method, episodes: Episodes):
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    assert_same(scores_of(method, taken(episodes, order)), scores_of(method, episodes)[order])


def test_the_batch_size_changes_nothing(method: Method, episodes: Episodes):
    parts = [scores_of(method, taken(episodes, index)) for index in torch.arange(len(episodes)).split(4)]
    assert_same(torch.cat(parts), scores_of(method, episodes))


def test_permuted_queries_permute_the_scores(method: Method, episodes: Episodes):
    order = torch.tensor([6, 2, 0, 5, 1, 3, 4])
    permuted = replace(episodes, query=episodes.query[:, order])
    assert_same(scores_of(method, permuted), scores_of(method, episodes)[:, order])


def test_a_score_of_an_inductive_method_depends_on_no_other_query(method: Method, episodes: Episodes):
    if method.transductive:
        pytest.skip("transductive")
    others = replace(episodes, query=torch.cat([episodes.query[:, :2], 9 * episodes.query[:, 2:].flip(0)], dim=1))
    assert_same(scores_of(method, others)[:, :2], scores_of(method, episodes)[:, :2])


def test_further_padding_changes_nothing(method: Method, episodes: Episodes):
    longer = padded(episodes, support=3, queries=2, ways=2)
    queries, ways = episodes.query.shape[1], episodes.ways
    # The learned part is that of the shorter episodes: a trained one does not grow with the padding either.
    longer = replace(longer, learned=with_learned_part(method, episodes).learned)
    assert_same(scores_of(method, longer)[:, :queries, :ways], scores_of(method, episodes))


def test_an_instance_keeps_nothing_between_batches(method: Method, episodes: Episodes, make_episodes, width_for):
    before = scores_of(method, episodes)
    scores_of(method, make_episodes(count=2, ways=3, shots=1, width=width_for(method, 5), seed=9))
    assert torch.equal(scores_of(method, episodes), before)


def test_the_episodes_are_left_as_they_were(method: Method, episodes: Episodes):
    copies = {name: value.clone() for name, value in vars(episodes).items() if isinstance(value, Tensor)}
    given = with_learned_part(method, episodes)
    learned = copy.deepcopy(given.learned)
    with torch.no_grad():
        method.classify(given)
    for name, value in copies.items():
        assert torch.equal(getattr(episodes, name), value)
    if given.learned is not None and learned is not None:
        before, after = learned.state_dict(), given.learned.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("extreme", ["all zero", "all the same", "large", "large and the same", "tiny"])
def test_extreme_features_give_finite_scores(method: Method, extreme: str, episodes: Episodes):
    present = (episodes.support_labels >= 0)[..., None]
    support, query = episodes.support * present, episodes.query
    support, query = {
        "all zero": (0 * support, 0 * query),
        "all the same": (support[:, :1].expand_as(support), query),
        "large": (1e4 * support, 1e4 * query),
        "large and the same": (1e4 + 0 * support, 1e4 + 0 * query),
        "tiny": (1e-20 * support, 1e-20 * query),
    }[extreme]
    scores = scores_of(method, replace(episodes, support=support, query=query))
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()


def test_a_method_beats_chance_on_classes_that_lie_apart(method: Method, make_episodes):
    if method.needs_training:
        pytest.skip("nothing without training")
    episodes: Episodes = replace(make_episodes(count=20, shots=5, width=32), tune="head" if method.adapts else "none")
    own = episodes.support + 0.1  # as queries, so that the labels are known
    hits = (scores_of(method, replace(episodes, query=own)).argmax(dim=-1) == episodes.support_labels).float().mean()
    assert hits == pytest.approx(1 / episodes.ways) if method.__class__.__name__ == "Chance" else hits > 0.8


def test_candidates_are_of_parameters_that_are_chosen_by_default_and_each_is_allowed(method: Method):
    by_default = type(method)()
    assert by_default.undecided_with("full") == tuple(method.choices)
    for name, candidates in method.choices.items():
        assert len(set(candidates)) == len(candidates) > 1
        assert all(name not in replace(by_default, **{name: value}).undecided_with("full") for value in candidates)
