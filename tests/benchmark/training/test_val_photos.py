from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, write_checkpoint
from fewbench.benchmark.training.pretrain_config import PretrainConfig
from fewbench.benchmark.training.pretraining import pretrain
from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT


def test_other_val_photos_make_another_training(tmp_path: Path) -> None:
    shades = np.random.default_rng(0).integers(0, 255, (80, 12, 12), dtype=np.uint8)
    for number, shade in enumerate(shades):
        for split in ("train", "val"):
            file = tmp_path / "photos" / split / f"{split}{number % 5}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(shade if split == "train" else 255 - shade).save(file)
    settings = {"backbone.width": 8, "dataset.root": str(tmp_path / "photos"), "dataset.size": 16}
    config = PretrainConfig(dataset="folder", epochs=1, batch_size=60, crop=1, device="cpu", settings=settings)
    path = pretrain(config, tmp_path / "weights.safetensors", SILENT)
    before = path.stat().st_mtime_ns
    assert pretrain(config, path, SILENT).stat().st_mtime_ns == before
    (tmp_path / "photos" / "val" / "val0" / "75.png").unlink()
    Image.fromarray(shades[0].T).save(tmp_path / "photos" / "val" / "val0" / "other.png")
    with pytest.raises(UsageError, match=r"of another training \(val_fingerprint "):
        pretrain(config, path, SILENT)
    checkpoint = read_checkpoint(path)  # weights of an older version do not say what val photos they saw
    assert checkpoint.description is not None
    older = replace(checkpoint.description, val_accuracy=replace(checkpoint.description.val_accuracy, fingerprint=None))
    write_checkpoint(path, checkpoint.tensors, older)
    before = path.stat().st_mtime_ns
    assert pretrain(config, path, SILENT).stat().st_mtime_ns == before
