"""Pretraining: a backbone learns from the train classes of a dataset; the val classes say which epoch to keep.

The recipe `supervised` is cross-entropy over the train classes with a linear layer that is thrown away
afterwards (Chen et al. 2019, arXiv:1904.04232, "Baseline"). Test classes are never opened.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from ...methods.protonet import ProtoNet
from ...tasks.datasets.base import Dataset, Split
from ...tasks.errors import UsageError, UserError
from ...tasks.parameters import build
from ...tasks.progress import Progress
from ...tasks.samplers import UniformSampler
from .. import registry
from ..backbones.base import Backbone, Preprocess, feature_width
from ..backbones.loading import make_backbone, save_weights
from ..device import choose_device
from ..evaluation import Source, evaluate_batch
from ..feature_table import FeatureTable
from ..provenance import code_version, package_version
from .augmentation import random_crop, random_flip

RECIPES = ("supervised",)
VALIDATION_EPISODES = 1000


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining.

    Attributes:
        dataset: registered name; its train classes are learnt.
        backbone: registered name.
        recipe: supervised.
        epochs: passes over the train images.
        batch_size: images a step.
        learning_rate: the highest, after a quarter of an epoch of warm-up; it falls to zero along a cosine.
        weight_decay: of AdamW.
        crop: pixels by which images are shifted at random.
        flip: whether images are mirrored at random.
        seed: of initial weights, order and augmentation.
        device: auto, cpu or cuda.
    """

    dataset: str
    backbone: str = "conv4"
    recipe: str = "supervised"
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    crop: int = 3
    flip: bool = False
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.recipe not in RECIPES:
            raise UsageError(f"unknown recipe '{self.recipe}'; known: {', '.join(RECIPES)}")
        for option, value in (("epochs", self.epochs), ("batch-size", self.batch_size)):
            if value < 1:
                raise UsageError(f"--{option} {value}: at least 1")


def pretrain(config: PretrainConfig, output: Path, progress: Progress) -> Path:
    """Train a backbone and write its best weights (by val accuracy) with their sidecar.

    Returns:
        The safetensors file.

    Raises:
        UserError: a name is unknown, the loss is no longer finite, or the file cannot be written.
    """
    device, code = choose_device(config.device), code_version()
    dataset: Dataset = build(registry.load(registry.find("datasets", config.dataset)), {}, config.dataset)
    backbone = make_backbone(config.backbone, {})
    train, val = dataset.split("train", progress), dataset.split("val", progress)
    preprocess = _preprocess(train)
    generator = Generator(device).manual_seed(config.seed)
    module = backbone.build(preprocess.channels, preprocess.size, Generator().manual_seed(config.seed))
    module = module.to(device).to(memory_format=torch.channels_last)
    head = _head(feature_width(module.eval(), preprocess), len(train.class_ids)).to(device)
    trainer = _Trainer(config, module, head, preprocess, device, generator)
    best: tuple[float, int, dict[str, Tensor]] = (-1.0, 0, {})
    for epoch in range(1, config.epochs + 1):
        loss = trainer.epoch(train, epoch, progress)
        accuracy = _validate(module, preprocess, val, device)
        progress.say(f"epoch {epoch}: loss {loss:.3f}, 5-way 1-shot accuracy on val classes {100 * accuracy:.2f} %")
        if accuracy > best[0]:
            best = (accuracy, epoch, {name: value.detach().clone() for name, value in module.state_dict().items()})
    module.load_state_dict(best[2])
    save_weights(output, module, _about(config, backbone, preprocess, dataset, train, best[0], best[1], code))
    return output


def _head(width: int, classes: int) -> nn.Module:
    """A linear classifier behind a batch norm without parameters (the "BNNeck" of Luo et al. 2019, arXiv:1903.07071).

    Without the batch norm the common mean of the rectified features hides their differences: on trifeature the loss after
    200 steps was then 4.8 instead of 4.4.
    """
    linear = skip_init(nn.Linear, width, classes)
    assert isinstance(linear, nn.Linear)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.BatchNorm1d(width, affine=False), linear)


class _Trainer:
    """AdamW with a cosine schedule over batches in a new random order each epoch."""

    def __init__(
        self,
        config: PretrainConfig,
        module: nn.Module,
        head: nn.Module,
        preprocess: Preprocess,
        device: torch.device,
        generator: Generator,
    ) -> None:
        self.config, self.module, self.head, self.preprocess = config, module, head, preprocess
        self.device, self.generator = device, generator
        parameters = [*module.parameters(), *head.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        head.train()
        self.schedule: CosineLRScheduler | None = None

    def epoch(self, train: Split, epoch: int, progress: Progress) -> float:
        """One pass over the train images; the mean loss."""
        size = self.config.batch_size
        steps = len(train.images) // size
        if self.schedule is None:
            self.schedule = CosineLRScheduler(
                self.optimizer,
                t_initial=self.config.epochs * steps,
                warmup_t=steps // 4,
                warmup_lr_init=1e-5,
                t_in_epochs=False,
            )
        labels = torch.from_numpy(train.labels).to(self.device)
        order = torch.randperm(len(train.images), generator=self.generator, device=self.device)
        total = 0.0
        self.module.train()
        with progress.track(f"epoch {epoch} of {self.config.epochs}", steps) as advance:
            for step in range(steps):
                self.schedule.step_update((epoch - 1) * steps + step)
                chosen = order[step * size : (step + 1) * size].sort().values  # sorted: kinder to the memory map
                total += self._step(train.images[chosen.cpu().numpy()], labels[chosen])
                advance(1)
        if not np.isfinite(total):
            raise UserError(f"the loss is no longer finite in epoch {epoch}; take a smaller --learning-rate")
        return total / steps

    def _step(self, images: np.ndarray, labels: Tensor) -> float:
        x = self.preprocess(torch.from_numpy(images).to(self.device))
        x = random_crop(x, self.config.crop, self.generator) if self.config.crop else x
        x = random_flip(x, self.generator) if self.config.flip else x
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = functional.cross_entropy(self.head(self.module(x)), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def _preprocess(train: Split) -> Preprocess:
    """Scale by the mean and deviation of a fixed subset of the train images, one number a channel."""
    sample = np.asarray(train.images[:: max(1, len(train.images) // 4096)], dtype=np.float64) / 255
    mean, std = sample.mean(axis=(0, 1, 2)), sample.std(axis=(0, 1, 2))
    return Preprocess(
        channels=train.images.shape[3],
        size=train.images.shape[1],
        mean=tuple(round(float(value), 4) for value in mean),
        std=tuple(round(float(value), 4) for value in std),
    )


def _validate(module: nn.Module, preprocess: Preprocess, val: Split, device: torch.device) -> float:
    """Mean accuracy of ProtoNet on a fixed set of 5-way 1-shot episodes of the val classes."""
    module.eval()
    features = []
    with torch.inference_mode():
        for start in range(0, len(val.images), 32):
            features.append(
                module(preprocess(torch.from_numpy(np.array(val.images[start : start + 32])).to(device))).cpu().numpy()
            )
    table = FeatureTable.of(np.concatenate(features), device)
    sampler = UniformSampler(val.offsets, seed=0, ways=5, shots=1, queries=15)
    batch = sampler.draw(0, VALIDATION_EPISODES)
    source = Source(device, table)
    return float(evaluate_batch(ProtoNet(), "protonet", batch, sampler.episode_seeds(batch.index), source).mean())


def command(config: PretrainConfig) -> str:
    """The command that repeats a pretraining, every option written out, whatever defaults become later."""
    options = [f"--{name.replace('_', '-')} {value}" for name, value in asdict(config).items() if not isinstance(value, bool)]
    flags = [f"--{'' if value else 'no-'}{name}" for name, value in asdict(config).items() if isinstance(value, bool)]
    return " ".join(["bench pretrain", *options, *flags])


def _about(
    config: PretrainConfig,
    backbone: Backbone,
    preprocess: Preprocess,
    dataset: Dataset,
    train: Split,
    accuracy: float,
    epoch: int,
    code: dict[str, Any],
) -> dict[str, Any]:
    return {
        "backbone": config.backbone,
        "backbone_parameters": backbone.parameters,
        "preprocess": asdict(preprocess),
        "pretraining": {
            "dataset": config.dataset,
            "dataset_version": dataset.version,
            "fingerprint": train.fingerprint,
            "split": "train",
            "classes": len(train.class_ids),
            "recipe": config.recipe,
            "external": False,
        },
        "made_by": {
            "command": command(config),
            "config": asdict(config),
            "git_commit": code["git_commit"],
            "fewbench": code["version"],
            "torch": package_version("torch"),
        },
        "val_accuracy": {"ways": 5, "shots": 1, "episodes": VALIDATION_EPISODES, "mean": accuracy, "epoch": epoch},
    }
