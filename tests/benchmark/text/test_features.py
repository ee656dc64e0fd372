import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.weights.loading import LoadedBackbone
from fewbench.benchmark.records.answerer import Pretraining
from fewbench.benchmark.text import features as module
from fewbench.benchmark.text.features import text_features
from fewbench.benchmark.text.prompts import PromptSet
from fewbench.core.errors import UserError
from fewbench.core.progress import SilentProgress

CPU = torch.device("cpu")
NAMES = ["red fox", "owl", "green frog"]
ONE, THREE = PromptSet("single", ("a photo of a {}.",)), PromptSet("three", ("a {}.", "the {}!", "{} by night"))


class Tower(nn.Module):
    """Reads the characters of a text; counts the texts that it is given."""

    context_length = 40

    def __init__(self, scale: float = 1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.letters = nn.Parameter(torch.randn(self.context_length, 128, 8, generator=generator) * scale)
        self.read = 0

    def tokenize(self, texts):
        rows = [[ord(letter) % 128 for letter in text[: self.context_length]] for text in texts]
        return torch.tensor([row + [0] * (self.context_length - len(row)) for row in rows])

    def too_long(self, texts):
        return [text for text in texts if len(text) > self.context_length]

    def forward(self, tokens: Tensor) -> Tensor:
        self.read += len(tokens)
        place = torch.arange(self.context_length)
        return (self.letters[place, tokens] * (tokens > 0)[..., None]).sum(dim=1)  # [B, 8]


class Backbone(LoadedBackbone):
    tower: Tower

    def text_tower(self):  # type: ignore[override]
        return self.tower


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def backbone() -> Backbone:
    made = Backbone(
        name="file.py:Letters",
        recipe=Conv4(width=8),
        module=nn.Identity(),
        preprocess=Preprocess(3, 16, (0.5,) * 3, (0.5,) * 3),
        feature_dim=8,
        weights="letters",
        weights_sha256="a" * 64,
        pretraining=Pretraining("letters", "supervised", external=False),
        code="version 1",
        network_parameters=0,
    )
    object.__setattr__(made, "tower", Tower())
    return made


def with_tower(backbone: Backbone, tower: Tower, **changes) -> Backbone:
    changed = replace(backbone, **changes)
    object.__setattr__(changed, "tower", tower)
    return changed


def test_prompts_are_normalised_averaged_and_normalised_again(backbone):
    found = text_features(backbone, THREE, NAMES, CPU, SilentProgress())
    assert found.dtype == torch.float32 and found.shape == (3, 8)
    tower = Tower()
    for name, row in zip(NAMES, found, strict=True):
        with torch.no_grad():
            encoded = tower(tower.tokenize(THREE.fill(name))).double().numpy()
        mean = np.mean([feature / np.sqrt((feature**2).sum()) for feature in encoded], axis=0)
        np.testing.assert_allclose(row.numpy(), mean / np.sqrt((mean**2).sum()), atol=1e-6)


def test_batches_change_nothing_but_last_bits(backbone, monkeypatch, tmp_path):
    whole = text_features(backbone, THREE, NAMES, CPU, SilentProgress())
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "other"))
    torch.testing.assert_close(text_features(backbone, THREE, NAMES, CPU, SilentProgress()), whole, atol=1e-6, rtol=0)


def test_the_same_name_has_the_same_feature_and_is_read_once(backbone):
    found = text_features(backbone, THREE, ["owl", "red fox", "owl"], CPU, SilentProgress())
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])
    assert backbone.tower.read == 6


def test_features_come_from_the_cache_the_second_time(backbone):
    first = text_features(backbone, THREE, NAMES, CPU, SilentProgress())
    again = text_features(with_tower(backbone, Tower(scale=float("nan"))), THREE, NAMES, CPU, SilentProgress())
    assert torch.equal(first, again) and backbone.tower.read == 9


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"weights_sha256": "c" * 64}, {"code": "version 2"}, {"recipe": Conv4(width=4)}],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_feature_makes_a_table_of_its_own(backbone, change):
    text_features(backbone, ONE, NAMES, CPU, SilentProgress())
    other = with_tower(backbone, Tower(), **change)
    text_features(other, ONE, NAMES, CPU, SilentProgress())
    assert other.tower.read == 3


def test_so_do_other_prompts_and_other_names(backbone):
    for prompts, names, read in [
        (ONE, NAMES, 3),
        (THREE, NAMES, 9),
        (ONE, NAMES[:2], 2),
        (PromptSet("other name", ONE.templates), NAMES, 3),  # a file of its own for a reader of the folder
        (ONE, NAMES, 0),
    ]:
        backbone.tower.read = 0
        text_features(backbone, prompts, names, CPU, SilentProgress())
        assert backbone.tower.read == read


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-4], lambda content: content[:-1] + b"\x3e"])
def test_a_damaged_cache_is_made_again(backbone, fresh_cache, damage):
    first = text_features(backbone, ONE, NAMES, CPU, SilentProgress())
    (folder,) = (fresh_cache / "text").iterdir()
    assert folder.name.startswith("file.py-Letters-single-")
    path = folder / module.FEATURES
    path.write_bytes(damage(path.read_bytes()))
    os.utime(path, ns=(1, 1))
    assert torch.equal(text_features(backbone, ONE, NAMES, CPU, SilentProgress()), first)
    assert backbone.tower.read == 6
    text_features(backbone, ONE, NAMES, CPU, SilentProgress())
    assert backbone.tower.read == 6  # it is whole now


def test_texts_that_are_cut_are_said_also_from_the_cache(backbone, listener):
    names = [*NAMES, "a very long name of a class that has no end"]
    for _ in range(2):
        heard = type(listener)()
        text_features(backbone, THREE, names, CPU, heard)
        assert heard.said == [
            "3 of 12 texts are longer than the 40 tokens that file.py:Letters reads, and cut there; "
            "the first: a a very long name of a class that has no end."
        ]
    text_features(backbone, THREE, NAMES, CPU, listener)
    assert listener.said == []


@pytest.mark.parametrize("scale", [float("nan"), 0.0])
def test_features_that_are_none_are_one_line_and_not_kept(backbone, fresh_cache, scale):
    with pytest.raises(UserError, match=r"^backbone file\.py:Letters: its text features are not finite or are zero"):
        text_features(with_tower(backbone, Tower(scale)), ONE, NAMES, CPU, SilentProgress())
    assert list((fresh_cache / "text").iterdir()) == []


def test_the_tower_runs_in_evaluation_mode_without_gradients(backbone):
    class Strict(Tower):
        def forward(self, tokens: Tensor) -> Tensor:
            assert not self.training and not torch.is_grad_enabled()
            return super().forward(tokens)

    found = text_features(with_tower(backbone, Strict().train()), ONE, NAMES, CPU, SilentProgress())
    assert not found.requires_grad and not found.is_inference()


def test_a_backbone_without_a_text_tower_says_so(tiny_weights):
    from fewbench.benchmark.backbones.weights.loading import load_backbone

    with pytest.raises(UserError, match="has no text tower; take --backbone clip-tiny or open_clip:ARCH/TAG"):
        text_features(load_backbone("conv4", {}, tiny_weights), ONE, NAMES, CPU, SilentProgress())
