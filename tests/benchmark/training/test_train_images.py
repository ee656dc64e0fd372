from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark import registry
from fewbench.benchmark.training import train_images
from fewbench.benchmark.training.loop.learner import Part, dropout_seed
from fewbench.benchmark.training.train_images import TrainImages
from fewbench.core.errors import UsageError
from fewbench.tasks.datasets.split import Split

CPU = torch.device("cpu")


@pytest.fixture
def split(tiny: str) -> Split:
    return registry.load(registry.find("datasets", tiny))().split("train")


def test_an_epoch_has_every_image_at_most_once_and_the_next_has_another_order(split: Split) -> None:
    images = TrainImages(split, 50, 0, CPU)
    assert images.steps_per_epoch == 7  # of 360 images
    first, second = (torch.cat([images.rows(7 * epoch + step) for step in range(7)]) for epoch in range(2))
    assert len(first.unique()) == len(second.unique()) == 350
    assert not torch.equal(first, second)
    assert not torch.equal(first[:50], TrainImages(split, 50, 1, CPU).rows(0))


def test_the_order_of_an_epoch_is_not_seeded_as_the_dropout_of_a_step(split: Split) -> None:
    for epoch in range(3):
        seeded = torch.Generator().manual_seed(dropout_seed(0, epoch, Part()))
        assert not torch.equal(TrainImages(split, 360, 0, CPU).rows(epoch), torch.randperm(360, generator=seeded))


def test_a_step_is_the_same_whatever_came_before(split: Split) -> None:
    images, later = TrainImages(split, 50, 0, CPU), TrainImages(split, 50, 0, CPU)
    for step in range(12):
        images.rows(step)
    assert torch.equal(images.rows(12), later.rows(12))
    assert torch.equal(images.rows(3), later.rows(3))


def test_parts_are_disjoint_and_together_the_whole(split: Split) -> None:
    images = TrainImages(split, 48, 0, CPU)
    whole, _ = images.draw(5, Part())
    parts = [images.draw(5, Part(rank, 3))[0] for rank in range(3)]
    assert [len(part) for part in parts] == [16, 16, 16]
    assert sorted(image.numpy().tobytes() for image in torch.cat(parts)) == sorted(image.numpy().tobytes() for image in whole)


@pytest.mark.parametrize("room", [0, 2**30])
def test_labels_belong_to_their_images(split: Split, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_images, "IN_MEMORY", room)
    images = TrainImages(split, 40, 0, CPU)
    assert (images.images.held is None) == (room == 0)
    drawn, labels = images.draw(0, Part())
    known = {image.tobytes(): label for image, label in zip(np.array(split.images), split.labels, strict=True)}
    assert [known[image.numpy().tobytes()] for image in drawn] == labels.tolist()
    assert len(set(labels.tolist())) > 6


def test_a_batch_larger_than_the_split_is_refused(split: Split, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--batch-size 361: the train classes have 360 images"):
        TrainImages(split, 361, 0, CPU)
