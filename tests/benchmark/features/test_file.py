import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark.backbones.weights.loading import LoadedBackbone, load_backbone
from fewbench.benchmark.features import file as module
from fewbench.benchmark.features.encode import DEFAULT
from fewbench.benchmark.features.file import FEATURES, REACHED, write_features
from fewbench.core.progress import SILENT
from fewbench.core.resumable import Unfinished

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, size=(200, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def backbone(tiny_weights: Path) -> LoadedBackbone:
    return load_backbone("conv4", {}, tiny_weights)


@pytest.fixture
def counted(backbone: LoadedBackbone) -> list[int]:
    """Images of each batch that the network was given."""
    sizes: list[int] = []
    backbone.module.register_forward_pre_hook(lambda network, inputs: sizes.append(len(inputs[0])))
    return sizes


def write(folder: Path, backbone: LoadedBackbone) -> bytes:
    folder.mkdir(exist_ok=True)
    write_features(Unfinished(folder, "plan", 0), backbone, IMAGES, CPU, DEFAULT, SILENT, "encoding")
    assert [path.name for path in folder.iterdir() if path.name != "unfinished.json"] == [FEATURES]
    return (folder / FEATURES).read_bytes()


@pytest.fixture
def interrupted(tmp_path: Path, backbone: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which Ctrl-C has left 96 of 200 images."""
    folder, calls = tmp_path / "interrupted", []

    def interrupt(network, inputs) -> None:
        calls.append(len(inputs[0]))
        if len(calls) == 5:  # the fourth batch is on its way
            raise KeyboardInterrupt

    folder.mkdir()
    hook = backbone.module.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_features(Unfinished(folder, "plan", 0), backbone, IMAGES, CPU, DEFAULT, SILENT, "encoding")
    hook.remove()
    assert json.loads((folder / REACHED).read_text())["done"] == 96
    return folder


def test_the_rest_alone_is_encoded_into_the_same_bytes(interrupted: Path, backbone, counted: list[int], tmp_path: Path):
    seconds = json.loads((interrupted / REACHED).read_text())["seconds"]
    with (interrupted / FEATURES).open("ab") as file:
        file.write(b"what was written and not yet safe")
    whole = write_features(Unfinished(interrupted, "plan", 96), backbone, IMAGES, CPU, DEFAULT, SILENT, "encoding")
    assert counted == [32, 32, 32, 8] and whole.seconds > seconds > 0 and whole.done == 200
    assert whole.checksum == zlib.crc32((interrupted / FEATURES).read_bytes())
    assert (interrupted / FEATURES).read_bytes() == write(tmp_path / "undisturbed", backbone)


def test_an_interrupted_encoding_keeps_the_size_of_its_batches(interrupted: Path, backbone, counted: list[int]):
    reached = json.loads((interrupted / REACHED).read_text())
    (interrupted / REACHED).write_text(json.dumps({**reached, "batch_size": 50}))
    write(interrupted, backbone)
    assert counted == [50, 50, 4]


def flip(folder: Path) -> None:
    content = bytearray((folder / FEATURES).read_bytes())
    content[500] ^= 1
    (folder / FEATURES).write_bytes(content)


def cut(folder: Path) -> None:
    (folder / FEATURES).write_bytes((folder / FEATURES).read_bytes()[:400])


def change(**values) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        reached = json.loads((folder / REACHED).read_text())
        (folder / REACHED).write_text(json.dumps({**reached, **values}))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        cut,
        lambda folder: (folder / FEATURES).unlink(),
        lambda folder: (folder / REACHED).write_text("{"),
        lambda folder: (folder / REACHED).write_text("[]"),
        change(done=64),
        change(done=201),
        change(done=-32),
        change(done="96"),
        change(batch_size=None),
        change(seconds="long"),
        change(more=1),
    ],
)
def test_what_is_damaged_is_thrown_away(interrupted: Path, backbone, counted: list[int], tmp_path: Path, damage):
    damage(interrupted)
    found = write(interrupted, backbone)
    assert sum(counted) == 200
    assert found == write(tmp_path / "undisturbed", backbone)


def test_a_table_of_another_width_is_thrown_away(interrupted: Path, backbone: LoadedBackbone, counted: list[int]):
    wider = replace(backbone, module=torch.nn.Sequential(backbone.module, torch.nn.ConstantPad1d((0, 2), 0.0)), feature_dim=10)
    write(interrupted, wider)
    assert sum(counted) == 200 and np.load(interrupted / FEATURES).shape == (200, 10)


def test_progress_is_safe_every_now_and_then(tmp_path: Path, backbone, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SAFE_SECONDS", -1.0)
    reached: list[int] = []
    monkeypatch.setattr(Unfinished, "reached", lambda self, done: reached.append(done))
    write(tmp_path / "made", backbone)
    assert reached == [32, 64, 96, 128, 160, 192, 200]
