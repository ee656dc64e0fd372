"""Datasets and networks of the user's own program, given to `run`."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fewbench.benchmark import RunConfig, registry, run
from fewbench.core.errors import UsageError
from fewbench.tasks.datasets.base import Dataset

PAGE = Path(__file__).parents[2] / "docs" / "photos.md"


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "GIVEN", {})


def images_of(classes: int = 5, count: int = 8, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Noise around a colour for each class."""
    generator, labels = np.random.default_rng(0), np.repeat(np.arange(classes), count)
    colours = generator.uniform(60, 200, (classes, 3))
    noise = generator.normal(0, 12, (len(labels), size, size, 3))
    return np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels


class MeanColour(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.gain * images.mean(dim=(2, 3))


CONFIG = RunConfig(method="protonet", shots=2, queries=4, episodes=50, settings={"backbone.size": 12})


def test_arrays_and_a_module_are_evaluated_and_recorded_under_their_names():
    images, labels = images_of()
    leaves = Dataset.from_arrays(images, labels, class_names=list("abcde"), name="leaves")
    network = MeanColour()
    record = run(CONFIG, dataset=leaves, backbone=network)
    assert record.mean > 0.9 and network.training
    assert (record.task.dataset, record.backbone.name) == ("leaves", "module:MeanColour")
    assert record.backbone.pretraining.external
    assert run(CONFIG, dataset=leaves, backbone=network).accuracies.tolist() == record.accuracies.tolist()
    other = run(CONFIG, dataset=leaves, backbone=MeanColour(2.0))
    assert other.backbone.weights_sha256 != record.backbone.weights_sha256
    assert len(list(Path("results").rglob("*.json"))) == 2


def test_parameters_of_a_given_dataset_hold(png_folder):
    from fewbench.tasks.datasets.folder import Folder

    record = run(CONFIG, dataset=Folder(root=str(png_folder), size=6), backbone=MeanColour())
    assert record.task.dataset == "folder" and record.task.dataset_parameters["size"] == 6


@pytest.fixture
def png_folder(tmp_path) -> Path:
    from PIL import Image

    for number, (image, label) in enumerate(zip(*images_of(), strict=True)):
        (tmp_path / "photos" / f"class {label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / f"class {label}" / f"{number}.png")
    return tmp_path / "photos"


def test_the_name_of_another_dataset_is_refused():
    with pytest.raises(UsageError, match="dataset omniglot: one of fewbench is called so; give another name"):
        run(CONFIG, dataset=Dataset.from_arrays(*images_of(), name="omniglot"), backbone=MeanColour())


@pytest.mark.parametrize("start", ["Dataset.from_arrays", "Dataset.from_torch"])
def test_the_lines_of_the_page_run(start, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (one for one in blocks if start in one)
    images, labels = images_of(size=84)
    names = {"images": images, "labels": labels, "my_dataset": list(zip(images, labels, strict=True)), "network": MeanColour()}
    exec(block.replace("shots=5", "shots=2, queries=4, episodes=20"), names)  # the page's own lines
    assert names["record"].mean > 0.9
