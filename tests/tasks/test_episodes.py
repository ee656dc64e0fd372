"""What makes an episode a task, and what is refused."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.episodes import EpisodeBatch, check_tasks
from fewbench.tasks.meta_dataset import MetaDatasetSampler
from fewbench.tasks.samplers import Sampler, UniformSampler

SOUND = UniformSampler(np.arange(7) * 8, seed=0, ways=3, shots=2, queries=2).draw(4, 8)  # tasks 4 to 7 of 48 images


def changed(name: str, task: int, place: int | slice, value: int) -> EpisodeBatch:
    """The sound tasks with one number changed."""
    column = getattr(SOUND, name).copy()
    column[task, place] = value
    return replace(SOUND, **{name: column})


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (changed("classes", 1, slice(1, 3), -1), "task 5 has fewer than two classes"),
        (changed("classes", 2, 1, -1), "task 6 has an image of a class that it does not name"),
        (changed("query_labels", 3, slice(None), -1), "task 7 has no query"),
        (changed("support_labels", 0, 0, 3), "task 4 has a label that is not one of its 3 classes"),
        (changed("query_labels", 0, 0, -2), "task 4 has a label that is not one of its 3 classes"),
        (changed("support", 1, 0, 48), "task 5 names an image that is not one of the 48 of this split"),
        (changed("query", 2, 1, -1), "task 6 names an image that is not one of the 48 of this split"),
    ],
)
def test_an_episode_that_is_none_is_told_with_its_number(batch: EpisodeBatch, message: str):
    with pytest.raises(UserError) as caught:
        check_tasks(batch, 48)
    assert str(caught.value) == message


def test_a_queried_class_without_support_is_told_with_its_class():
    labels = SOUND.support_labels.copy()
    labels[1, labels[1] == 2] = -1
    with pytest.raises(UserError, match=rf"^task 5 has queries of class {SOUND.classes[1, 2]} and no support of it$"):
        check_tasks(replace(SOUND, support_labels=labels), 48)


@pytest.mark.parametrize(
    "sampler", [MetaDatasetSampler(np.arange(11) * 40, seed=4), UniformSampler(np.arange(7) * 8, 1, 2, 1, 1)]
)
def test_what_samplers_draw_is_sound(sampler: Sampler):
    check_tasks(sampler.draw(0, 200), int(sampler.offsets[-1]))


@dataclass(frozen=True)
class OneClass(UniformSampler):
    """A sampler that names the first class alone from episode 3 on."""

    name: ClassVar[str] = "one-class"

    def draw_chunk(self, start: int, stop: int) -> EpisodeBatch:
        drawn = super().draw_chunk(start, stop)
        column: Any = drawn.classes.copy()
        column[drawn.index >= 3, 1:] = -1
        return replace(drawn, classes=column)


def test_a_samplers_mistake_is_told_when_it_is_drawn():
    sampler = OneClass(np.arange(7) * 8, 0, ways=3, shots=1, queries=1)
    assert len(sampler.draw(0, 3)) == 3
    with pytest.raises(UserError, match=r"^task 3 has fewer than two classes$"):
        sampler.draw(0, 5)
