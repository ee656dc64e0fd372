import json
import os
from pathlib import Path

import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.class_lists import listed_classes, listed_taxonomy

SHARED = Path(os.environ.get("FEWBENCH_SHARED") or Path(__file__).resolve().parents[2].parent / "shared")
SPLITS = ("train", "val", "test")


@pytest.mark.parametrize(
    ("dataset", "sizes"),
    [
        ("mini-imagenet", (64, 16, 20)),
        ("tiered-imagenet", (351, 97, 160)),
        ("cifar-fs", (64, 16, 20)),
        ("fc100", (60, 20, 20)),
        ("cub-200", (100, 50, 50)),
    ],
)
def test_splits_have_the_published_sizes_and_share_no_class_and_no_name(dataset: str, sizes: tuple[int, ...]):
    lists = [listed_classes(dataset, split) for split in SPLITS]
    assert tuple(map(len, lists)) == sizes
    together = [listed for one in lists for listed in one]
    assert len({listed.class_id for listed in together}) == sum(sizes)
    assert len({listed.name for listed in together}) == sum(sizes)
    assert all(listed.name.strip() for listed in together)


def test_fc100_splits_share_no_superclass():
    train, val, test = ({listed.parent for listed in listed_classes("fc100", split)} for split in SPLITS)
    assert (len(train), len(val), len(test)) == (12, 4, 4)
    assert not train & val and not train & test and not val & test


def test_cub_classes_alternate_between_training_and_the_rest():
    numbers = {split: [int(listed.class_id[:3]) for listed in listed_classes("cub-200", split)] for split in SPLITS}
    assert numbers["train"] == list(range(1, 201, 2))
    assert numbers["val"] == list(range(2, 201, 4))
    assert numbers["test"] == list(range(4, 201, 4))


@pytest.mark.skipif(not (SHARED / "data" / "class-lists").exists(), reason=f"no {SHARED}/data/class-lists")
@pytest.mark.parametrize("split", SPLITS)
def test_tiered_imagenet_has_the_order_that_published_testbeds_index(split: str):
    published = json.loads((SHARED / "data" / "class-lists" / f"tiered-imagenet-{split}.json").read_text(encoding="utf-8"))
    assert [listed.class_id for listed in listed_classes("tiered-imagenet", split)] == published["class_names"]


def test_cifar_classes_stand_below_their_superclass():
    parents = listed_taxonomy("fc100", "test").parents
    assert parents["baby"] == parents["man"] == ("people",)


def test_dataset_without_taxonomy_says_what_to_bring():
    with pytest.raises(UserError, match="cub-200 has no taxonomy; bring one"):
        listed_taxonomy("cub-200", "test")
