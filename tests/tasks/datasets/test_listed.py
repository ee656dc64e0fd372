from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.class_lists import ListedClass, listed_classes
from fewbench.tasks.datasets import listed
from fewbench.tasks.datasets.cifar_fs import CifarFs
from fewbench.tasks.datasets.cub_200 import Cub200
from fewbench.tasks.datasets.listed import ListedDataset, image_contents
from fewbench.tasks.datasets.reading.holders import FolderFiles, Member
from fewbench.tasks.datasets.reading.image_files import Square

CLASSES = [("n1", "robin"), ("n2", "goose"), ("n3", "junco")]


@dataclass(frozen=True)
class Birds(ListedDataset):
    """Three birds."""

    name = "birds"
    version = "1"
    citation = licence = "-"
    homepage = "https://birds.example"
    takes = "a folder a class"

    @property
    def side(self) -> int:
        return 8

    def find(self, source: Path, class_ids: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        found: dict[str, list[Member]] = {}
        for member in FolderFiles(source).members(lambda name: True):
            if member.parent in class_ids:
                found.setdefault(member.parent, []).append(member)
        return found


@pytest.fixture(autouse=True)
def birds(monkeypatch):
    lists = [ListedClass("test", class_id, name) for class_id, name in CLASSES]
    monkeypatch.setattr(listed, "listed_classes", lambda name, split: lists if name == "birds" else listed_classes(name, split))


@pytest.fixture
def copy(tmp_path, png) -> Path:
    for class_id, count in (("n1", 2), ("n2", 3), ("n3", 1)):
        (tmp_path / class_id).mkdir()
        for number in range(count):
            (tmp_path / class_id / f"{number}.png").write_bytes(png(int(class_id[1]), number))
    return tmp_path


def message(source: Path) -> str:
    with pytest.raises(UserError) as caught:
        Birds().prepare(source, ["test"])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_are_in_the_order_of_the_list(copy, pixels):
    split = Birds().prepare(copy, ["test"])["test"]
    assert (split.class_ids, split.class_names) == (("n1", "n2", "n3"), ("robin", "goose", "junco"))
    assert split.offsets.tolist() == [0, 2, 5, 6]
    expected = [pixels(bird, number) for bird, number in ((1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0))]
    np.testing.assert_array_equal(split.images, expected)
    assert (Birds().folder() / "test" / "sources.txt").read_text().split() == [
        *("n1/0.png", "n1/1.png", "n2/0.png", "n2/1.png", "n2/2.png", "n3/0.png")
    ]


def test_the_class_list_works_without_images():
    assert Birds().class_list("test") == CLASSES


def test_the_taxonomy_works_without_images():
    taxonomy = CifarFs().taxonomy("test")
    ids = [class_id for class_id, _ in CifarFs().class_list("test")]
    assert len(taxonomy.members(ids)[taxonomy.root]) == 20
    with pytest.raises(UserError, match="cub-200 has no taxonomy"):
        Cub200().taxonomy("test")


def test_without_a_source_the_message_says_what_to_bring():
    with pytest.raises(UserError, match=r"bench data prepare birds --from PATH` takes a folder a class \(https://birds"):
        Birds().split("test")


def test_a_source_without_any_class_says_what_it_takes(tmp_path):
    assert message(tmp_path).endswith("none of the test classes of birds is here; it takes a folder a class")
    assert "no such file or folder" in message(tmp_path / "nowhere")


def test_missing_classes_are_counted_and_the_first_is_named(copy):
    for file in (copy / "n2").iterdir():
        file.unlink()
    assert message(copy).endswith("1 of the 3 test classes of birds have no image here, the first is n2 (goose)")


def test_a_class_with_other_than_the_published_count_is_reported(copy, monkeypatch):
    monkeypatch.setattr(Birds, "per_class", 2)
    assert message(copy).endswith("class n2 (goose) has 3 images here, 2 as published, and 1 more classes differ")
    (copy / "n3" / "1.png").write_bytes((copy / "n3" / "0.png").read_bytes())
    assert message(copy).endswith("class n2 (goose) has 3 images here, 2 as published")


def test_where_classes_differ_the_total_counts(copy, monkeypatch):
    monkeypatch.setattr(Birds, "totals", {"test": 7})
    assert message(copy).endswith("the test classes have 6 images here, 7 as published; the smallest is n3 (junco) with 1")
    monkeypatch.setattr(Birds, "totals", {"test": 6})
    assert len(Birds().prepare(copy, ["test"])["test"].images) == 6


def test_a_damaged_image_is_named_and_nothing_is_left(copy):
    (copy / "n2" / "1.png").write_bytes(b"no image")
    assert message(copy) == f"cannot read {copy / 'n2' / '1.png'} (not an image of a known format)"
    assert not list(Birds().folder().iterdir())


def test_contents_say_what_will_be_there(copy):
    members = [FolderFiles(copy).members(lambda name: name.startswith("n1"))]
    contents = image_contents([("n1", "robin")], members, Square(16), origin="here")
    assert (contents.counts, contents.shape, contents.sources) == ([2], (16, 16, 3), ["n1/0.png", "n1/1.png"])
    assert contents.stream is not None and next(contents.stream(0))[1].shape == (2, 16, 16, 3)
    assert Birds().contents("test", copy, SILENT).origin == ""


def test_an_impossible_size_is_refused():
    assert Cub200(size=1).side == 1
    for size, says in ((0, "at least 1"), (5000, "at most 4,096")):
        with pytest.raises(UsageError, match=f"^Cub200: size={size}: {says}$"):
            Cub200(size=size)
