"""CLIP's loss against its formula by loops, and a training of both towers by the real command."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from fewbench.benchmark import registry
from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.clip.clip_tiny import ClipTiny
from fewbench.benchmark.backbones.clip.dual_encoder import DualEncoder
from fewbench.benchmark.backbones.weights.checkpoint import read_description, weights_sha256
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.text.captions import captions_of_names
from fewbench.benchmark.training.loop.learner import Part
from fewbench.benchmark.training.options import Effort
from fewbench.benchmark.training.pretrain_config import PretrainConfig
from fewbench.benchmark.training.pretraining import _validation, pretrain
from fewbench.benchmark.training.recipes.base import Material
from fewbench.benchmark.training.recipes.clip import Clip, ClipLearner, contrast
from fewbench.benchmark.training.train_images import TrainImages
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.split import Split

NAMES = tuple(
    f"{colour} {texture} square" for colour in ("red", "blue", "green", "grey") for texture in ("solid", "dotted", "rayed")
)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def cross_entropy(scores: np.ndarray, same: np.ndarray) -> float:
    """Of each row: minus the mean log-probability of the columns that belong to it."""
    total = 0.0
    for row, mine in zip(scores, same, strict=True):
        log = row - math.log(sum(math.exp(score) for score in row))
        total -= sum(log[place] for place in range(len(row)) if mine[place]) / sum(mine)
    return total / len(scores)


@pytest.mark.parametrize("said", [[0, 1, 2, 3, 4], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0]])
def test_the_loss_is_the_formula(said: list[int]) -> None:
    scores, numbers = torch.randn(5, 5, generator=seeded()), torch.tensor(said)
    same = numbers[:, None] == numbers
    expected = (cross_entropy(scores.numpy(), same.numpy()) + cross_entropy(scores.numpy().T, same.numpy().T)) / 2
    assert contrast(scores, same).item() == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def split(tiny: str) -> Split:
    return registry.load(registry.find("datasets", tiny))().split("train")


@pytest.fixture
def learner(split: Split) -> ClipLearner:
    generator = seeded()
    material = Material(
        backbone=ClipTiny().dual_encoder(3, 64, generator),
        width=64,
        images=TrainImages(split, 24, 0, torch.device("cpu")),
        classes=12,
        preprocess=Preprocess(3, 64, (0.5,) * 3, (0.3,) * 3),
        crop=1,
        flip=False,
        steps=40,
        generator=generator,
        captions=captions_of_names(split, NAMES, 0.5, "tiny"),
    )
    made = Clip(drop=0.5).learner(material)
    assert isinstance(made, ClipLearner)
    return made


def test_images_of_which_the_same_is_said_belong_together(learner: ClipLearner) -> None:
    images, tokens, said = learner.batch(0, Part())
    assert len({*said.tolist()}) < len(said)  # 24 images of 12 classes
    loss, figures = learner.eval()((images, tokens, said))
    with torch.no_grad():
        image, text = (normalize(each, dim=1) for each in (learner.backbone(images), learner.backbone.text(tokens)))
        scores = (image @ text.T / 0.07).numpy()
    same = (said[:, None] == said).numpy()
    assert loss.item() == pytest.approx((cross_entropy(scores, same) + cross_entropy(scores.T, same)) / 2, rel=1e-4)
    assert figures["accuracy"].item() == pytest.approx(np.mean([same[row, scores[row].argmax()] for row in range(24)]))
    assert figures["scale"].item() == pytest.approx(1 / 0.07)


def test_a_caption_is_said_of_the_image_it_stands_beside(learner: ClipLearner) -> None:
    _, tokens, said = learner.batch(3, Part())
    labels = learner.images.draw(3, Part())[1]
    tokenizer = ClipTiny().tokenizer()
    for row in range(24):
        words = tokenizer.decode(tokens[row][1 : int(tokens[row].argmax())].tolist())  # type: ignore[attr-defined]
        phrase = learner.captions.phrases[said[row]]
        assert phrase in words and {*phrase.split()} <= {*NAMES[labels[row]].split()}


def test_parts_of_a_step_have_captions_of_their_own_images(learner: ClipLearner) -> None:
    for rank in range(2):
        _, _, said = learner.batch(5, Part(rank, 2))
        for label, phrase in zip(learner.images.draw(5, Part(rank, 2))[1], said, strict=True):
            assert {*learner.captions.phrases[phrase].split()} <= {*NAMES[label].split()}


def test_the_whole_model_is_kept_and_held_once(learner: ClipLearner) -> None:
    assert learner.kept() is learner.backbone.model
    assert {*learner.kept().state_dict()} >= {"visual.conv1.weight", "token_embedding.weight", "logit_scale"}
    shared = [value.data_ptr() for value in learner.state_dict().values()]
    assert len(shared) == len({*shared})


class Reader(nn.Module):
    """A text tower that knows each class's pattern by heart."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def tokenize(self, texts: tuple[str, ...]) -> Tensor:
        return torch.tensor([int(text.split()[-1].strip(".")) for text in texts])

    def forward(self, tokens: Tensor) -> Tensor:
        return self.features[tokens]


class Blocks(DualEncoder):
    """Features are the means of the image's 16 blocks; texts are those of the class's mean image, if `right`."""

    def __init__(self, split: Split, right: bool) -> None:
        nn.Module.__init__(self)
        images = torch.from_numpy(np.array(split.images)).permute(0, 3, 1, 2).float() / 255 - 0.5
        means = self(images).unflatten(0, (12, 30)).mean(dim=1)
        self.reader = Reader(means if right else means.roll(1, dims=0))

    @property
    def text(self) -> Reader:  # type: ignore[override]
        return self.reader

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


@pytest.mark.parametrize(("right", "accuracy"), [(True, 1.0), (False, 0.0)])
def test_validation_reads_the_names_of_the_val_classes(right: bool, accuracy: float, tiny: str) -> None:
    dataset = registry.load(registry.find("datasets", tiny))()
    validation = _validation(Clip(), dataset, SILENT)
    assert validation.texts[3] == "a photo of a val pattern 3."
    assert validation.shape == {"ways": 5, "shots": 0, "queries": 15, "episodes": 1000}
    module = Blocks(dataset.split("val"), right)
    preprocess = Preprocess(3, 16, (0.5,) * 3, (1.0,) * 3)
    assert validation.accuracy(module, preprocess, torch.device("cpu")) == pytest.approx(accuracy, abs=0.25)


@pytest.fixture
def quick(tiny: str) -> PretrainConfig:
    return PretrainConfig(dataset=tiny, backbone="clip-tiny", recipe="clip", epochs=1, batch_size=60, crop=1, device="cpu")


def about(path: Path) -> dict:
    description = read_description(path)
    assert description is not None
    return json.loads(description.to_json())


def test_one_file_holds_both_towers_and_says_how_it_was_made(quick: PretrainConfig, tmp_path: Path, capsys) -> None:
    path = pretrain(quick, tmp_path / "clip.safetensors", SILENT)
    sidecar = about(path)
    assert sidecar["pretraining"]["recipe"] == "clip" and sidecar["pretraining"]["recipe_parameters"]["drop"] == 0
    assert sidecar["val_accuracy"]["shots"] == 0 and sidecar["preprocess"]["size"] == 64
    backbone = load_backbone("clip-tiny", {}, path)
    tower = backbone.text_tower()
    assert tower(tower.tokenize(["a photo of a val pattern 3."])).shape == (1, backbone.feature_dim)
    assert not backbone.pretraining.external
    words, before = shlex.split(sidecar["made_by"]["command"]), path.stat().st_mtime_ns
    app([*words[1:], "--output", str(path)], standalone_mode=False)
    assert "nothing was trained; --overwrite repeats it" in capsys.readouterr().err
    assert path.stat().st_mtime_ns == before


def test_what_ran_out_of_time_ends_in_the_same_weights(quick: PretrainConfig, tmp_path: Path) -> None:
    undisturbed = weights_sha256(pretrain(quick, tmp_path / "whole.safetensors", SILENT))
    output = tmp_path / "parts.safetensors"
    with pytest.raises(UserError, match=r"stopped by --time-limit after 1 of 6 steps"):
        pretrain(quick, output, SILENT, Effort(time_limit=1e-9))
    assert weights_sha256(pretrain(quick, output, SILENT)) == undisturbed


def test_captions_of_a_file_are_learnt(quick: PretrainConfig, tmp_path: Path) -> None:
    lines = [f"train-{number},number {number} of twelve" for number in range(12)]
    (tmp_path / "captions.csv").write_text("\n".join(["class_id,caption", *lines]))
    config = replace(quick, settings={"recipe.captions": str(tmp_path / "captions.csv")})
    path = pretrain(config, tmp_path / "clip.safetensors", SILENT)
    assert about(path)["pretraining"]["recipe_parameters"]["captions"] == "captions.csv"
    assert pretrain(config, path, SILENT) == path
    (tmp_path / "captions.csv").write_text("\n".join(["class_id,caption", *(f"{line} indeed" for line in lines)]))
    with pytest.raises(UsageError, match=r"of another training \(captions_sha256 "):
        pretrain(config, path, SILENT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "conv4"}, r"^backbone Conv4 has no text tower; take --backbone clip-tiny or open_clip:ARCH/TAG$"),
        ({"settings": {"recipe.drop": 1.5}}, r"recipe clip: drop=1\.5: from 0 to 1"),
        ({"settings": {"recipe.captions": "nowhere.csv"}}, r"cannot read nowhere\.csv"),
        ({"size": 32}, r"--size 32: the backbone takes no images of 32×32 pixels"),
    ],
)
def test_what_cannot_be_trained_is_one_line(changes: dict, said: str, quick: PretrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as caught:
        pretrain(replace(quick, **changes), tmp_path / "clip.safetensors", SILENT)
    assert "\n" not in str(caught.value)


def test_a_dataset_without_class_names_is_refused(split: Split) -> None:
    nameless = replace(split, class_names=tuple(str(number) for number in range(12)))
    with pytest.raises(UsageError, match="the dataset has no class names"):
        Clip().captions_of(registry.load(registry.find("datasets", "trifeature"))(), nameless, SILENT)
