"""Datasets of plug-ins: their images are never those of other code, nor of another dataset of the same name."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from fewbench.benchmark import RunConfig, registry
from fewbench.benchmark.evaluation import runner
from fewbench.core.options import parameter
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.base import Dataset
from fewbench.tasks.datasets.trifeature import Trifeature

from .conftest import content

pytestmark = pytest.mark.usefixtures("same_conditions")

GREY = """
from dataclasses import dataclass, replace
from fewbench.tasks.datasets.trifeature import Trifeature

@dataclass(frozen=True)
class Grey(Trifeature):
    def contents(self, split, source, progress):
        def fill(images, progress):
            images[:] = 128

        return replace(super().contents(split, source, progress), fill=fill, stream=None)
"""


def test_a_plugin_below_a_built_in_dataset_has_images_of_its_own(tmp_path: Path):
    (tmp_path / "grey.py").write_text(GREY)
    grey = registry.make("datasets", f"{tmp_path / 'grey.py'}:Grey", {})
    assert grey.name == "trifeature" and (grey.split("val").images[:50] == 128).all()
    assert grey.folder().name == "trifeature-1-Grey" and Trifeature().folder().name == "trifeature-1"


def test_images_of_a_plugin_whose_code_has_changed_are_made_again(config: RunConfig, tmp_path: Path, listener):
    file = tmp_path / "tiny.py"
    code = Path(config.dataset.partition(":")[0]).read_text()
    config = replace(config, dataset=f"{file}:Tiny")
    file.write_text(code)
    first = runner.run(config, SILENT)
    file.write_text(f"# a remark changes nothing\n{code}")
    assert runner.run(config, SILENT).reused
    file.write_text(code.replace("uniform(0, 255", "uniform(110, 150"))
    again = runner.run(config, listener)
    assert not again.reused and again.path == first.path
    assert again.record.mean < first.record.mean - 0.1
    assert listener.said[:2] == [
        f"{first.path} may be of other images than those that are there now; it is made again",
        "tiny, test: the dataset's code has changed since it was prepared; building it again",
    ]
    fresh = runner.run(replace(config, results=tmp_path / "anew"), SILENT)
    assert content(fresh.path) == content(again.path)


@dataclass(frozen=True)
class Place(Dataset):
    """A dataset with a text for a parameter."""

    at: str = parameter("", "a folder")
    name: ClassVar[str] = "place"
    version: ClassVar[str] = "1"

    def class_list(self, split: str):
        return []

    def contents(self, split, source, progress):
        raise NotImplementedError


def test_parameters_that_a_file_name_cannot_hold_are_told_apart():
    places = ["a/b", "a_b", "a b", "../b", "a-b"]
    folders = {Place(at=at).folder() for at in places}
    assert len(folders) == len(places) and len({folder.parent for folder in folders}) == 1
    assert Place(at="a_b").folder().name == "place-1-Place-at=a_b"
