import json
from pathlib import Path

import pytest
import torch

from fewbench.benchmark.backbones.loading import load_backbone
from fewbench.benchmark.training.augmentation import random_crop, random_flip
from fewbench.benchmark.training.pretraining import PretrainConfig, command, pretrain
from fewbench.tasks.errors import UsageError
from fewbench.tasks.progress import SILENT


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []

    track = staticmethod(SILENT.track)

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_pretraining_learns_and_says_how_its_weights_were_made(tiny: str, tmp_path: Path) -> None:
    listener = Listener()
    config = PretrainConfig(dataset=tiny, epochs=3, batch_size=32, crop=1)
    path = pretrain(config, tmp_path / "weights.safetensors", listener)
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in listener.lines if "loss" in line]
    assert losses[-1] < losses[0]
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["pretraining"]["classes"] == 12
    assert about["val_accuracy"]["mean"] > 0.5  # chance is 0.2
    assert load_backbone("conv4", {}, path).feature_dim == 64


def test_the_same_seed_gives_the_same_weights(tiny: str, tmp_path: Path) -> None:
    config = PretrainConfig(dataset=tiny, epochs=1, batch_size=64, crop=1, flip=True)
    first, second = (pretrain(config, tmp_path / f"{name}.safetensors", SILENT).read_bytes() for name in ("a", "b"))
    other = pretrain(PretrainConfig(dataset=tiny, epochs=1, batch_size=64, crop=1, seed=1), tmp_path / "c.safetensors", SILENT)
    assert first == second
    assert first != other.read_bytes()


def test_the_command_names_every_option() -> None:
    line = command(PretrainConfig(dataset="omniglot", epochs=7, flip=True))
    assert line.startswith("bench pretrain --dataset omniglot --backbone conv4 --recipe supervised --epochs 7")
    assert line.endswith("--flip")


@pytest.mark.parametrize(
    ("options", "named"), [({"recipe": "magic"}, "magic"), ({"epochs": 0}, "--epochs"), ({"batch_size": 0}, "--batch")]
)
def test_what_cannot_be_trained_is_refused(options: dict, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        PretrainConfig(dataset="trifeature", **options)


def test_a_crop_is_a_shift_with_repeated_border() -> None:
    images = torch.arange(2 * 3 * 5 * 5, dtype=torch.float32).view(2, 3, 5, 5)
    cropped = random_crop(images, 2, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    for before, after in zip(padded, cropped, strict=True):
        windows = [before[:, top : top + 5, left : left + 5] for top in range(5) for left in range(5)]
        assert any(torch.equal(window, after) for window in windows)


def test_a_flip_mirrors_some_images_and_leaves_the_others() -> None:
    images = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    flipped = random_flip(images, torch.Generator().manual_seed(1))
    mirrored = [torch.equal(after, before.flip(2)) for before, after in zip(images, flipped, strict=True)]
    assert all(m or torch.equal(a, b) for m, b, a in zip(mirrored, images, flipped, strict=True))
    assert 16 < sum(mirrored) < 48
