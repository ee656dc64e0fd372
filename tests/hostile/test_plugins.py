"""Plug-ins that return something else than their contract says: a line names the class, what it gave and what is expected."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

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
    ("licence: ClassVar[Any] = None", "Odd.licence is None; expected text"),
    ("name: ClassVar[Any] = 3", "Odd.name is 3; expected text"),
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


METHOD = """
from dataclasses import dataclass

import torch

from fewbench.methods.base import Method, parameter


@dataclass(frozen=True)
class Odd(Method):
    '''Odd.'''

    a: float | str = parameter(1.0)
    LINE

    def classify(self, e):
        return torch.zeros(len(e), e.query.shape[1], e.ways)
"""
METHODS = [
    ("inputs = 'pictures'", "Odd.inputs is pictures; expected features or images"),
    ("transductive = 'yes'", "Odd.transductive is yes; expected true or false"),
    ("version = 2", "Odd.version is 2; expected text"),
    ("choices = None", "Odd.choices is None; expected Mapping"),
    ("choices = {'b': (1, 2)}", "choices names 'b'; expected parameters"),
    ("choices = {'a': ()}", "choices names 'a'"),
    ("later_parameters = None", "Odd.later_parameters is None; expected frozenset"),
    ("parameters = property(lambda self: None)", "its parameters are of type NoneType"),
    ("changed = property(lambda self: None)", "changed is None; expected names of parameters"),
    ("__init__ = lambda self, x: None", "cannot be made of its parameters: TypeError"),
    ("learned_part = lambda self, *given: 'x'", "learned_part gives str; expected a module or None"),
]


@pytest.mark.parametrize(("line", "says"), METHODS, ids=[line for line, _ in METHODS])
def test_a_method_that_declares_or_gives_something_else(line: str, says: str, bench, tiny, tiny_weights, tmp_path: Path):
    (tmp_path / "odd.py").write_text(METHOD.replace("LINE", line))
    done = bench("run", "--method", f"{tmp_path / 'odd.py'}:Odd", "--dataset", tiny, "--weights", tiny_weights, "--dry-run")
    assert says in done.message


BACKBONE = """
from dataclasses import dataclass

from torch import nn

from fewbench.benchmark.backbones.base import Backbone, Preprocess


@dataclass(frozen=True)
class Odd(Backbone):
    '''Odd.'''

    def preprocess(self):
        return PREPROCESS

    def build(self, channels, size, generator):
        return NETWORK
"""
USUAL, NETWORK = "Preprocess(3, 2, (.5,) * 3, (.5,) * 3)", "nn.Sequential(nn.Flatten(), nn.Linear(12, 4))"
BACKBONES = [
    ("None", NETWORK, "preprocess gives NoneType; expected a Preprocess"),
    (USUAL.replace("(3, 2", "(3, 0"), NETWORK, "size=0: 1 to 4,096"),
    (USUAL, "None", "build gives NoneType; expected a module with parameters"),
    (USUAL, "nn.Flatten()", "build gives a module without parameters"),
    (USUAL, "nn.Conv2d(3, 4, 1)", "the backbone gives [1, 4, 2, 2] for one image"),
]


@pytest.mark.parametrize(("preprocess", "network", "says"), BACKBONES, ids=[says for _, _, says in BACKBONES])
def test_a_backbone_that_gives_something_else(preprocess, network, says, bench, tiny, tmp_path: Path):
    (tmp_path / "odd.py").write_text(BACKBONE.replace("PREPROCESS", preprocess).replace("NETWORK", network))
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).state_dict(), tmp_path / "w.pt")
    done = bench(
        "run", "--backbone", f"{tmp_path / 'odd.py'}:Odd", "--dataset", tiny, "--weights", tmp_path / "w.pt", "--dry-run"
    )
    assert says in done.message


SAMPLER = """
from dataclasses import dataclass, replace

import numpy as np

from fewbench.tasks.samplers import UniformSampler


@dataclass(frozen=True)
class Odd(UniformSampler):
    '''Odd.'''

    def draw_chunk(self, start, stop):
        d = super().draw_chunk(start, stop)
        return DRAWN

    def coarsity(self, count):
        return COARSITY
"""
SAMPLERS = [
    ("None", "None", "sampler Odd: draw_chunk returned NoneType; expected an EpisodeBatch"),
    ("replace(d, support=d.support * 1.0)", "None", "support of a batch is float64"),
    ("replace(d, query=d.query.tolist())", "None", "query of a batch is list"),
    ("replace(d, query=d.query[0])", "None", "query of a batch is int64 ["),
    ("d[:1]", "None", "gives 1 rows of support; expected 20"),
    ("replace(d, query=d.query[:, 1:])", "None", "expected the same shape"),
    ("replace(d, index=d.index * 0)", "None", "gives episodes of other numbers; expected 0 to 19"),
    ("replace(d, classes=d.classes + 90)", "None", "task 0 names a class that is not one of the 12 of this split"),
    ("replace(d, support=d.support[:, ::-1].copy())", "None", "is not of class"),
    ("replace(d, query=d.support, query_labels=d.support_labels)", "None", "is a query and in the support"),
    ("d", "[1.0] * count", "coarsity(1) is [1.0]; expected an array"),
    ("d", "np.full(count, np.nan)", "coarsity(1) is [nan]"),
]


@pytest.mark.parametrize(("drawn", "coarsity", "says"), SAMPLERS, ids=[f"{drawn} {more}" for drawn, more, _ in SAMPLERS])
def test_a_sampler_that_draws_something_else(drawn, coarsity, says, bench, tiny, tiny_weights, tmp_path: Path):
    (tmp_path / "odd.py").write_text(SAMPLER.replace("DRAWN", drawn).replace("COARSITY", coarsity))
    task = ("--dataset", tiny, "--weights", tiny_weights, "--queries", "5", "--episodes", "20", "--dry-run")
    done = bench("run", "--sampler", f"{tmp_path / 'odd.py'}:Odd", *task)
    assert says in done.message
