"""Plug-ins that return something else than their contract says: a line names the class, what it gave and what is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

DATASET = """
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fewbench.core.options import parameter
from fewbench.tasks.datasets.base import Contents, Dataset

N = 3 * 8


def block(k, start=0, dtype="u1", side=8):
    return np.arange(start, start + k), np.zeros((k, side, side, 3), dtype)


def contents(**changed):
    ids = ["c0", "c1", "c2"]
    usual = dict(class_ids=ids, class_names=ids, counts=[8] * 3, shape=(8, 8, 3), stream=lambda done: iter([block(N)]))
    return Contents(**{**usual, **changed})


@dataclass(frozen=True)
class Odd(Dataset):
    '''Odd.'''

    name: ClassVar[str] = "odd"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    homepage: ClassVar[str] = ""

    def own_splits(self):
        return ("test",)

    def class_list(self, split):
        return [(f"c{i}", f"c{i}") for i in range(3)]

    def contents(self, split, source, progress):
        return GIVEN
"""
GIVEN = [
    ("None", "Odd, test: contents gives None; expected Contents("),
    ("[1]", "contents gives [1]"),
    ("contents(class_ids=None)", "class_ids = None; expected a list of texts"),
    ("contents(class_names=[1, 2, 3])", "class_names = [1, 2, 3]"),
    ("contents(class_ids=['c0', 'c0', 'c1'])", "class_ids that name a class twice"),
    ("contents(counts=[8, 8])", "3 class_ids, 3 class_names and 2 counts"),
    ("contents(counts=[8, 8, -1])", "counts = [8, 8, -1]"),
    ("contents(counts=[8, 8, 8.5])", "counts = [8, 8, 8.5]"),
    ("contents(counts=[0, 0, 0])", "0 sources for 0 images"),
    ("contents(class_ids=[], class_names=[], counts=[])", "0 class_ids"),
    ("contents(shape=(8, 8))", "shape = (8, 8); expected (height, width, 1 or 3)"),
    ("contents(shape=(8, 8, 4))", "shape = (8, 8, 4)"),
    ("contents(shape=(10**6, 10**6, 3))", "shape = (1000000, 1000000, 3)"),
    ("contents(sources=['a'])", "1 sources for 24 images"),
    ("contents(stream=None)", "neither fill nor stream"),
    ("contents(stream='x')", "neither fill nor stream"),
    ("contents(stream=lambda done: None)", "stream returned None"),
    ("contents(stream=lambda done: iter([7]))", "stream yields 7; expected (rows [k], images uint8 [k, 8, 8, 3])"),
    ("contents(stream=lambda done: iter([block(N)[1]]))", "stream yields an array of uint8 [24, 8, 8, 3]"),
    ("contents(stream=lambda done: (image for image in block(N)[1]))", "stream yields an array of uint8 [8, 8, 3]"),
    ("contents(stream=lambda done: iter([block(N)[::-1]]))", "rows = an array of uint8"),
    ("contents(stream=lambda done: iter([block(N, dtype=float)]))", "images = an array of float64 [24, 8, 8, 3]"),
    ("contents(stream=lambda done: iter([block(N, side=9)]))", "images = an array of uint8 [24, 9, 9, 3]"),
    ("contents(stream=lambda done: iter([block(N, start=5)]))", "stream yields rows 5 to 28; there are 24 images"),
    ("contents(stream=lambda done: iter([block(N, start=-1)]))", "stream yields rows -1 to 22"),
    ("contents(stream=lambda done: iter([block(8), block(8)]))", "stream yields an image twice, in rows 0 to 7"),
    ("contents(stream=lambda done: iter([block(23)]))", "stream yields 23 images; contents says 24"),
    ("contents(stream=lambda done: iter([]))", "stream yields 0 images; contents says 24"),
    ("contents(stream=lambda done: iter([block(1 // 0)]))", "ZeroDivisionError"),
    ("contents(stream=None, fill=lambda images, progress: images.fill(1 // 0))", "ZeroDivisionError"),
]


@pytest.mark.parametrize(("given", "says"), GIVEN, ids=[given for given, _ in GIVEN])
def test_a_dataset_that_gives_something_else(given: str, says: str, bench, tmp_path: Path):
    (tmp_path / "odd.py").write_text(DATASET.replace("GIVEN", given))
    done = bench("data", "prepare", f"{tmp_path / 'odd.py'}:Odd")
    assert says in done.message


def test_a_dataset_that_gives_an_iterable_of_pieces_is_read(bench, tmp_path: Path):
    (tmp_path / "odd.py").write_text(DATASET.replace("GIVEN", "contents(stream=lambda done: [block(10, 14), list(block(14))])"))
    assert bench("data", "prepare", f"{tmp_path / 'odd.py'}:Odd").code == 0


DECLARED = [
    ("licence: ClassVar[Any] = None", "Odd.licence is None; expected a text"),
    ("name: ClassVar[Any] = 3", "Odd.name is 3; expected a text"),
    ("version: ClassVar[str] = 'x' * 400", "File name too long"),
    ("part: complex = parameter(1j)", "parameter part=1j is of type complex, which a record cannot hold"),
    ("part: bytes = parameter(b'x')", "of type bytes"),
    ("part: object = parameter(np.float32(1))", "of type float32"),
    ("part: float = parameter(float('nan'))", "part=nan is of type float, which a record cannot hold; expected finite"),
    ("part: str = parameter('\\udc80')", "of type str"),
    ("part: 'Gone' = parameter(1)", "the types of its parameters cannot be read: NameError: name 'Gone' is not defined"),
    ("recorded_parameters = lambda self: {'a': np.zeros(3)}", "parameter a=[0. 0. 0.] is of type ndarray"),
    ("recorded_parameters = lambda self: [1]", "its parameters are of type list; expected values by name"),
]


@pytest.mark.parametrize(("line", "says"), DECLARED, ids=[line for line, _ in DECLARED])
def test_a_class_that_no_record_can_hold(line: str, says: str, bench, tmp_path: Path):
    text = DATASET.replace("GIVEN", "contents()").replace("    def class_list", f"    {line}\n\n    def class_list")
    (tmp_path / "odd.py").write_text(text)
    done = bench("data", "prepare", f"{tmp_path / 'odd.py'}:Odd")
    assert says in done.message and "odd" in done.message
