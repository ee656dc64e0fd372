import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewbench.benchmark.backbones.weights.loading import LoadedBackbone, load_backbone
from fewbench.benchmark.features.encode import Encoding, arithmetic, encode, out_of_memory
from fewbench.core.errors import UsageError, UserError

CPU = torch.device("cpu")
TORCH_SAYS = "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


class Through(nn.Module):
    """A network behind something that is told every batch."""

    def __init__(self, network: nn.Module, tell: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.network, self.tell = network, tell

    def forward(self, x: Tensor) -> Tensor:
        self.tell(x)
        return self.network(x)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(70, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def backbone(tiny_weights: Path) -> LoadedBackbone:
    return load_backbone("conv4", {}, tiny_weights)


def features_of(backbone: LoadedBackbone, images: np.ndarray, encoding: Encoding = Encoding(), **more: int) -> np.ndarray:  # noqa: B008
    return np.concatenate([features for features, _ in encode(backbone, images, CPU, encoding, **more)])


def test_features_do_not_depend_on_the_batch_an_image_is_in(images: np.ndarray, backbone: LoadedBackbone):
    found = [features_of(backbone, images, Encoding(size)) for size in (None, 1, 7, 70, 1000)]
    assert found[0].shape == (70, backbone.feature_dim) and found[0].std(axis=0).min() > 0
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-4, atol=1e-5)


def test_encoding_goes_on_with_the_batches_it_would_have_had(images: np.ndarray, backbone: LoadedBackbone):
    whole = list(encode(backbone, images, CPU, Encoding(16)))
    rest = list(encode(backbone, images, CPU, Encoding(), start=32, batch_size=16))
    assert [batch.batch_size for batch in rest] == [16, 16, 16]
    for expected, found in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(found.features, expected.features)
    assert list(encode(backbone, images, CPU, Encoding(), start=70)) == []


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError(TORCH_SAYS), MemoryError()])
def test_a_batch_that_does_not_fit_is_halved(images: np.ndarray, backbone: LoadedBackbone, error: BaseException):
    sizes: list[int] = []

    def tell(x: Tensor) -> None:
        sizes.append(len(x))
        if len(x) > 9 and len(sizes) > 1:  # the first fits, and the second no more
            raise error

    hungry = replace(backbone, module=Through(backbone.module, tell))
    np.testing.assert_allclose(features_of(hungry, images, Encoding(32)), features_of(backbone, images), rtol=1e-4, atol=1e-5)
    assert sizes[:4] == [32, 32, 16, 8] and sum(sizes[3:]) == 70


def test_not_even_one_image_fits(images: np.ndarray, backbone: LoadedBackbone):
    def tell(x: Tensor) -> None:
        raise RuntimeError(TORCH_SAYS)

    with pytest.raises(UserError, match="not even one image fits into the memory of cpu"):
        features_of(replace(backbone, module=Through(backbone.module, tell)), images)


def test_another_error_of_the_network_is_not_taken_for_a_full_memory(images: np.ndarray, backbone: LoadedBackbone):
    def tell(x: Tensor) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        features_of(replace(backbone, module=Through(backbone.module, tell)), images)
    assert not out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_sixteen_bits_give_nearly_the_same_features_in_float16(
    images: np.ndarray, backbone: LoadedBackbone, precision, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Encoding, "check", lambda self, device: None)  # a CPU has fp16 too, if slowly
    exact, found = features_of(backbone, images), features_of(backbone, images, Encoding(precision=precision))
    assert found.dtype == np.float16
    error = np.abs(found - exact).max() / exact.std()
    assert 0 < error < (0.1 if precision == "bf16" else 0.02)


def test_features_beyond_float16_are_refused(images: np.ndarray, backbone: LoadedBackbone):
    large = replace(backbone, module=nn.Sequential(backbone.module, nn.Threshold(-1.0, 0.0), Times(1e6)))
    with pytest.raises(UserError, match="--precision bf16: a feature is not finite in 16 bits; take --precision fp32"):
        features_of(large, images, Encoding(precision="bf16"))
    assert features_of(large, images).max() > 1e5


def test_features_that_are_not_finite_are_refused_in_every_precision(images: np.ndarray, backbone: LoadedBackbone):
    overflowing = replace(backbone, module=nn.Sequential(backbone.module, Times(1e38), Times(1e38)))
    with pytest.raises(UserError, match=r"^encoding with conv4: a feature is NaN or infinite; check the weights and how"):
        features_of(overflowing, images)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="--batch-size 0: at least 1"):
        Encoding(batch_size=0)
    with pytest.raises(UsageError, match="--precision fp8: unknown; known: bf16, fp16, fp32, tf32"):
        Encoding(precision=cast(Any, "fp8"))
    with pytest.raises(UsageError, match="--precision tf32: only CUDA devices have it"):
        Encoding(precision="tf32").check(CPU)
    with pytest.raises(UsageError, match=r"^--precision fp16: .*; take bf16 or fp32$"):
        Encoding(precision="fp16").check(CPU)
    Encoding(precision="fp16").check(torch.device("cuda"))
    for precision in ("bf16", "fp32"):
        Encoding(precision=precision).check(CPU)


def test_arithmetic_puts_torch_back():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with arithmetic(CPU, "bf16"):
        assert torch.is_autocast_enabled("cpu") and torch.is_inference_mode_enabled()
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before
    assert not torch.is_autocast_enabled("cpu") and not torch.is_inference_mode_enabled()


def test_the_mode_of_the_caller_is_its_own_between_batches(images: np.ndarray, backbone: LoadedBackbone):
    for _ in encode(backbone, images, CPU, Encoding(precision="bf16")):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")


def test_a_network_that_cannot_be_compiled_is_told_in_one_line(images, backbone, monkeypatch: pytest.MonkeyPatch):
    def compiler(module: nn.Module):
        def call(x: Tensor) -> Tensor:
            raise RuntimeError("no C++ compiler\nfound")

        return call

    monkeypatch.setattr(torch, "compile", compiler)
    with pytest.raises(UserError, match=r"^torch cannot compile conv4 \(RuntimeError: no C\+\+ compiler found\); run without"):
        features_of(backbone, images, Encoding(compile=True))


def test_compiling_does_not_repeat_what_torch_says_of_extensions(
    images: np.ndarray, backbone: LoadedBackbone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    logger = logging.getLogger("torch.utils.cpp_extension")

    def compiled(module: nn.Module) -> Callable[[Tensor], Tensor]:
        def call(x: Tensor) -> Tensor:
            logger.warning("No CUDA runtime is found")
            logging.getLogger("torch").warning("something else")
            return module(x)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    features_of(backbone, images, Encoding(compile=True))
    assert {record.getMessage() for record in caplog.records} == {"something else"}
    logger.warning("No CUDA runtime is found")
    assert caplog.records[-1].name == logger.name  # the logger itself is as before
