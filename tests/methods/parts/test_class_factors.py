import pytest
import torch
from torch import Generator, Tensor

from fewbench.methods.parts import class_factors
from fewbench.methods.parts.class_factors import BLOCK, add_product, factor_of
from fewbench.tasks.episodes import TrainClasses


def classes(images: int, width: int) -> tuple[Tensor, TrainClasses]:
    features = torch.randn(3, images, width, generator=Generator().manual_seed(0), dtype=torch.float64)
    return features, TrainClasses(features.mean(dim=1), lambda number: features[number])


@pytest.mark.parametrize(("images", "width"), [(30, 6), (6, 30), (1, 4)])
def test_a_factor_has_the_covariance_of_its_class_and_zeros_below_the_diagonal(images: int, width: int):
    features, train = classes(images, width)
    factor = factor_of(train, 1, torch.float64)
    assert factor.shape == (min(images, width), width) and factor.equal(factor.triu())
    covariance = features[1].T.cov() if images > 1 else torch.zeros(width, width, dtype=torch.float64)
    torch.testing.assert_close(factor.T @ factor, covariance, rtol=1e-10, atol=1e-12)


def test_a_factor_is_computed_once():
    _, train = classes(10, 4)
    assert factor_of(train, 0, torch.float64) is factor_of(train, 0, torch.float64)


def test_the_first_factors_go_where_memory_is_short(monkeypatch: pytest.MonkeyPatch):
    _, train = classes(10, 4)
    monkeypatch.setattr(class_factors, "KEPT", 2 * 8 * 4 * 4)
    for number in range(3):
        factor_of(train, number, torch.float64)
    assert list(train.factors) == [(1, torch.float64), (2, torch.float64)]


@pytest.mark.parametrize(("rows", "width"), [(5, 5), (BLOCK + 5, 2 * BLOCK + 3), (2 * BLOCK, 2 * BLOCK)])
def test_products_without_the_zeros_are_the_whole_products(rows: int, width: int):
    generator = Generator().manual_seed(0)
    normal = torch.randn(7, rows, generator=generator, dtype=torch.float64)
    factor = torch.randn(rows, width, generator=generator, dtype=torch.float64).triu()
    start = torch.randn(7, width, generator=generator, dtype=torch.float64)
    drawn = start.clone()
    add_product(drawn, normal, factor, 0.5)
    torch.testing.assert_close(drawn, start + 0.5 * normal @ factor)
