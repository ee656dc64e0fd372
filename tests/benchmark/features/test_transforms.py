from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation.plan import make_plan
from fewbench.benchmark.features.table import FeatureTable
from fewbench.benchmark.features.transforms import Transforms
from fewbench.core.errors import UsageError

RECORDS = Path(__file__).parents[3] / "results/records/trifeature/test-5way-1shot-15query-uniform"
CPU = torch.device("cpu")
TRAIN = np.random.default_rng(0).normal(2, 3, (200, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32)
ROWS = torch.from_numpy(np.random.default_rng(1).normal(1, 2, (2, 4, 6)).astype(np.float32))
QUERIES = ROWS.flip(0)
LABELS = torch.tensor([[0, 1, 0, 1], [0, 1, -1, -1]])


def done(text: str, support: Tensor = ROWS, query: Tensor = QUERIES) -> tuple[Tensor, Tensor]:
    fitted = Transforms.parse(text).fitted(FeatureTable.of(TRAIN, CPU))
    return fitted.of_episodes(support, LABELS, query)


def as_float64(text: str, rows: np.ndarray) -> np.ndarray:
    """The same by NumPy, for the steps that do not know the episode."""
    rows, train = rows.astype(np.float64), TRAIN.astype(np.float64)
    for part in text.split(","):
        name, _, number = part.partition(":")

        def one(x: np.ndarray, name: str = name, number: str = number, train: np.ndarray = train) -> np.ndarray:
            if name == "l2":
                return x / np.linalg.norm(x, axis=-1, keepdims=True)
            if name == "center":
                return x - train.mean(axis=0)
            if name == "power":
                return np.sign(x) * np.abs(x) ** float(number or 0.5)
            if name == "zscore":
                return (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)
            _, _, directions = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)
            signs = np.sign(directions[np.arange(6), np.abs(directions).argmax(axis=1)])[:, None]
            return (x - train.mean(axis=0)) @ (directions * signs)[: int(number)].T

        rows, train = one(rows), one(train)
    return rows


@pytest.mark.parametrize("text", ["l2", "center", "power", "power:0.3", "zscore", "pca:3", "l2,center,power:0.7,pca:2"])
def test_steps_are_those_of_their_formulas_in_their_order(text: str):
    support, query = done(text)
    torch.testing.assert_close(support.double(), torch.from_numpy(as_float64(text, ROWS.numpy())), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(query, support.flip(0))


def test_the_order_matters():
    assert not torch.allclose(done("l2,center")[0], done("center,l2")[0], atol=1e-2)


def test_a_task_is_centred_on_its_support_without_padding():
    support, query = done("center-task")
    centres = torch.stack([ROWS[0].mean(dim=0), ROWS[1, :2].mean(dim=0)])[:, None]
    torch.testing.assert_close(support, ROWS - centres)
    torch.testing.assert_close(query, ROWS.flip(0) - centres)


def test_no_query_sees_another():
    poisoned = ROWS.flip(0).clone()
    poisoned[:, 1:] = 99
    for text in ("center-task", "l2,center,pca:3", "zscore"):
        torch.testing.assert_close(done(text, query=poisoned)[1][:, 0], done(text)[1][:, 0])


def test_the_train_mean_is_that_of_the_transformed_features():
    table = FeatureTable.of(TRAIN, CPU)
    found = Transforms.parse("l2,power:0.5").fitted(table).of_table(table).mean()
    expected = as_float64("l2,power:0.5", TRAIN).mean(axis=0)
    assert found.numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("text", ["l2", "power:0.5", "power", "l2,center,pca:40"])
def test_transforms_are_written_with_their_numbers(text: str):
    assert str(Transforms.parse(text)) == text.replace("power:0.5", "power").replace("power", "power:0.5")
    assert not str(Transforms.parse(None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("l3", "no transform 'l3'"),
        ("", "no transform ''"),
        ("l2:3", "l2 takes no number"),
        ("pca", "write pca:NUMBER, such as pca:40"),
        ("pca:0.5", "write pca:NUMBER"),
        ("pca:0", "pca:0 is out of range"),
        ("power:-1", "power:-1 is out of range"),
        ("power:nan", "power:nan is out of range"),
        ("center-task,center", "put center-task last"),
    ],
)
def test_what_is_no_transform_is_told_in_a_line(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        Transforms.parse(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "proto+text"}, "proto.text compares with text"),
        ({"method": "finetune", "tune": "norm"}, "finetune works on images"),
        ({"features": "pca:4000"}, "a feature of conv4 has 256 numbers"),
    ],
)
def test_methods_that_need_the_features_as_they_are_say_so(options: dict[str, str], message: str):
    with pytest.raises(UsageError, match=message):
        make_plan(RunConfig(**{"features": "l2", **options}))  # type: ignore[arg-type]


def test_a_run_without_transforms_keeps_its_name():
    plain, other = (make_plan(RunConfig(features=features, bootstrap=True)) for features in (None, "l2,power"))
    assert (plain.method_section.features, other.method_section.features) == (None, "l2,power:0.5")
    assert plain.path().name != other.path().name
    assert (RECORDS / plain.path().name).is_file()  # as records were called before there were transforms
