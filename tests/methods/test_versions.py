"""A method's `version` is raised whenever its numbers change: records of other numbers must not pass for the same run.

`known_scores.json` holds a few scores of every built-in method, by its version. Where they move and the version does not, the
test fails. After a change that is meant, raise `version` in the class; then this adds the new scores, and never replaces any:

    RECORD_NUMBERS=1 pytest tests/methods/test_versions.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fewbench.benchmark import registry
from fewbench.benchmark.built_in import BUILT_IN
from fewbench.methods.base import Method
from fewbench.tasks.episodes import Episodes

SameAsKnown = Callable[[Path, str, str, dict[str, list[float]]], None]
KNOWN = Path(__file__).with_name("known_scores.json")
KEPT = 6  # scores of a case
QUICK = {"pmf": {"learning_rate": 1e-3, "steps": 3}, "reptile": {"test_steps": 6, "inner_learning_rate": 0.01}}


# A family of names, such as sklearn:NAME, has scores of somebody else's code.
@pytest.fixture(params=sorted(name for name in BUILT_IN["methods"] if not name.endswith(":NAME")))
def name(request: pytest.FixtureRequest) -> str:
    if request.param.startswith("learn2learn"):
        pytest.importorskip("learn2learn")
    return request.param


@pytest.fixture
def scores(name: str, decided, make_episodes, make_unequal_episodes, make_images, width_for) -> dict[str, list[float]]:
    """A few scores of each case, and the loss where there is one."""
    method: Method = decided(registry.load(registry.find("methods", name))(**QUICK.get(name, {})))
    found = {}
    for tune in ("head", "last-block") if method.adapts else ("none",):
        on_images = method.inputs_with(tune) == "images"
        for shape, make in (("equal", make_episodes), ("unequal", make_unequal_episodes)):
            if on_images and method.transductive and shape == "unequal":
                continue  # padding might be among the queries
            episodes = _ready(method, make(count=3, width=48 if on_images else width_for(method, 8)), tune, make_images)
            with torch.no_grad():
                scored = method.classify(episodes)
            found[f"{shape} {tune}"] = _few(scored[episodes.class_mask[:, None].expand_as(scored)])
            if method.meta_trained and shape == "equal" and tune != "last-block":
                labels = torch.arange(episodes.query.shape[1]) % episodes.ways
                loss = method.loss(replace(episodes, query_labels=labels.expand(len(episodes), -1)))
                found["loss"] = [float(f"{loss.item():.6g}")]
    return found


def _ready(method: Method, episodes: Episodes, tune: str, make_images: Callable[[Episodes, str], Episodes]) -> Episodes:
    """The episodes with images where the method takes them, and with its learned part."""
    episodes = replace(episodes, tune=tune)
    if method.inputs_with(tune) == "images":
        episodes = make_images(episodes, "full" if tune == "none" else tune)
    backbone = episodes.backbone or nn.Identity()
    width = 4 if episodes.backbone is not None else episodes.support.shape[-1]
    part = method.learned_part(backbone, width, episodes.ways, torch.Generator().manual_seed(0))
    return episodes if part is None else replace(episodes, learned=part.eval())


def _few(scores: Tensor) -> list[float]:
    """The mean size of scores [n], and some of them, spread over episodes, queries and classes."""
    values = scores.double()
    places = torch.linspace(0, len(values) - 1, KEPT).long()
    return [float(f"{value:.6g}") for value in [values.abs().mean().item(), *values[places].tolist()]]


def test_the_version_is_raised_where_the_scores_change(name: str, scores: dict[str, list[float]], same_as_known: SameAsKnown):
    same_as_known(KNOWN, name, registry.load(registry.find("methods", name)).version, scores)
