import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.training.meta.validation import Validation
from fewbench.core.errors import UsageError
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.datasets.split import Split

CPU = torch.device("cpu")
CLASSES, IMAGES, SIZE = 8, 20, 4
PREPROCESS = Preprocess(channels=1, size=SIZE, mean=(0.0,), std=(1.0,))


class Pixels(nn.Module):
    """The image itself as its feature; right in evaluation mode alone."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) * (0.0 if self.training else 1.0)


def split(noise: float) -> Split:
    random = np.random.default_rng(0)
    patterns = random.uniform(50, 200, size=(CLASSES, 1, SIZE, SIZE, 1))
    images = patterns + random.normal(scale=noise, size=(CLASSES, IMAGES, SIZE, SIZE, 1))
    names = tuple(str(number) for number in range(CLASSES))
    rows = images.reshape(-1, SIZE, SIZE, 1).clip(0, 255).astype(np.uint8)
    return Split("patterns", "val", rows, np.arange(CLASSES + 1) * IMAGES, names, names, "0" * 64)


def accuracy(module: nn.Module, noise: float, ways: int = 5, shots: int = 1, episodes: int = 300) -> float:
    return Validation.of(ProtoNet(), split(noise), ways, shots, 15, episodes).accuracy(module, PREPROCESS, CPU)


@pytest.mark.parametrize("training", [True, False])
def test_patterns_without_noise_are_told_apart_and_the_mode_is_given_back(training: bool):
    module = Pixels().train(training)
    assert accuracy(module, noise=1, episodes=50) == 1.0
    assert module.training is training


def test_noise_is_chance_and_more_shots_help_between():
    assert accuracy(Pixels(), noise=1e4) == pytest.approx(0.2, abs=0.03)
    one, five = (accuracy(Pixels(), noise=80, shots=shots) for shots in (1, 5))
    assert 0.3 < one < five - 0.05 < 0.95
    two_ways = accuracy(Pixels(), noise=80, ways=2)
    assert two_ways > one + 0.1


def test_the_episodes_are_always_the_same():
    values = {accuracy(Pixels(), noise=80, episodes=20) for _ in range(2)}
    assert len(values) == 1


def test_val_classes_that_are_too_few_or_too_small_are_told_without_naming_options():
    for shape, told in (
        ((9, 1, 15), "validation episodes need 9 val classes; there are 8"),
        ((5, 6, 15), "need 21 images each; .* has 20"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            Validation.of(ProtoNet(), split(noise=1), *shape, episodes=10)
        assert "--" not in str(caught.value)
