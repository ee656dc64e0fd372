"""Text towers against open_clip's own models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from fewbench.benchmark.backbones.clip.clip_tiny import VOCABULARY, VOCABULARY_SIZE
from fewbench.benchmark.backbones.clip.open_clip_models import OpenClipModel
from fewbench.benchmark.backbones.clip.text_tower import TextTower, build_text_tower, load_text_tower
from fewbench.benchmark.backbones.weights.loading import load_backbone, make_backbone
from fewbench.benchmark.features.encode import Encoding
from fewbench.core.decoding import encode
from fewbench.core.errors import UserError
from fewbench.methods.parts.random_numbers import seeded

LENGTH = 12
VISION: dict[str, Any] = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TEXT: dict[str, Any] = {"context_length": LENGTH, "vocab_size": VOCABULARY_SIZE, "width": 16, "heads": 2, "layers": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": TEXT},
    "quick": {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True},
    "custom": {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": TEXT, "custom_text": True},
    "eos": {
        "embed_dim": 8,
        "vision_cfg": VISION,
        "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": VOCABULARY_SIZE - 1},
        "custom_text": True,
    },
    "siglip": {
        "embed_dim": 8,
        "vision_cfg": VISION,
        "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
        "custom_text": True,
    },
    "unprojected": {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": {**TEXT, "proj_type": "none"}, "custom_text": True},
}
COCA: dict[str, Any] = {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True}}
TEXTS = ["a photo of a red striped triangle.", "grey", "", "one two three four five six seven eight nine ten eleven"]


def tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer(str(VOCABULARY), context_length=LENGTH)


def whole(kind: str) -> Any:
    config = CONFIGS[kind]
    cls = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    vision, text = open_clip.CLIPVisionCfg(**VISION), open_clip.CLIPTextCfg(**config["text_cfg"])
    with seeded(0):
        return cls(8, vision, text, config.get("quick_gelu", False)).eval()


def described(kind: str) -> OpenClipModel:
    return OpenClipModel(kind, "", COCA if kind == "coca" else CONFIGS[kind], {})


@pytest.fixture(params=CONFIGS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def weights(kind: str, tmp_path: Path) -> Path:
    path = tmp_path / "clip.pt"
    torch.save(whole(kind).state_dict(), path)
    return path


def test_features_are_those_of_the_whole_model(kind: str, weights: Path):
    tower = load_text_tower(described(kind), tokenizer(), weights, "backbone x")
    model = whole(kind)
    with torch.no_grad():
        expected: Tensor = model.encode_text(tokenizer()(TEXTS))
        torch.testing.assert_close(tower(tower.tokenize(TEXTS)), expected)
        shared = TextTower(getattr(model, "text", model), tokenizer(), "x")
        torch.testing.assert_close(shared(shared.tokenize(TEXTS)), expected)
    assert tower.context_length == LENGTH and not tower.training
    assert not any("visual" in name for name in tower.state_dict())


def test_a_text_has_the_same_feature_among_longer_ones(kind: str, weights: Path):
    tower = load_text_tower(described(kind), tokenizer(), weights, "x")
    with torch.no_grad():
        torch.testing.assert_close(tower(tower.tokenize(TEXTS))[1:2], tower(tower.tokenize(TEXTS[1:2])))


def test_gradients_reach_vectors_in_the_place_of_words(kind: str, weights: Path):
    tower = load_text_tower(described(kind), tokenizer(), weights, "x")
    tokens = tower.tokenize(TEXTS[:2])
    embedded = tower.embed(tokens).detach().requires_grad_()
    assert embedded.shape == (2, LENGTH, 16)
    features = tower.encode(embedded, tokens)
    torch.testing.assert_close(features, tower(tokens))
    features[0, 0].backward()
    assert embedded.grad is not None
    assert embedded.grad[0, 1].abs().sum() > 0 and embedded.grad[1].abs().sum() == 0


def test_what_open_clip_adds_to_coca_is_kept_but_cannot_be_taken_apart():
    text = build_text_tower(described("coca"), "x").eval()
    tower = TextTower(text, tokenizer(), "backbone x")
    tokens = tower.tokenize(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(tower(tokens), text(tokens)[0])
    for call in (lambda: tower.embed(tokens), lambda: tower.encode(torch.zeros(4, LENGTH, 16), tokens)):
        with pytest.raises(UserError, match=r"^backbone x: its text tower takes no learned prompts; take a CLIP model"):
            call()


def test_long_texts_are_cut_as_open_clip_cuts_them_and_named():
    tower = TextTower(whole("clip"), tokenizer(), "x")
    fits, long = "red " * (LENGTH - 2), "red " * (LENGTH - 1)  # beside the marks of start and end
    assert tower.too_long([fits, "", long, "!", "! ! !"]) == [long]  # marks of exclamation are the padding's number
    assert tower.too_long([]) == []
    tokens = tower.tokenize([long, fits])
    assert tokens.dtype == torch.int64 and torch.equal(tokens[0], tokens[1])
    assert tokens[0, -1] == VOCABULARY_SIZE - 1


def test_the_tower_needs_no_image_tower_in_the_file(tmp_path: Path):
    state = {f"module.{name}": value for name, value in whole("clip").state_dict().items() if not name.startswith("visual.")}
    torch.save({"state_dict": state}, tmp_path / "text.pt")
    tower = load_text_tower(described("clip"), tokenizer(), tmp_path / "text.pt", "x")
    with torch.no_grad():
        torch.testing.assert_close(tower(tower.tokenize(TEXTS)), whole("clip").encode_text(tokenizer()(TEXTS)))


def test_every_tensor_has_to_match(tmp_path: Path):
    state = whole("clip").state_dict()
    state.pop("ln_final.bias")
    torch.save(state, tmp_path / "clip.pt")
    with pytest.raises(
        UserError, match=r"clip\.pt do not fit backbone tiny \(its text tower\): .*ln_final\.bias is not in"
    ) as caught:
        load_text_tower(described("clip"), tokenizer(), tmp_path / "clip.pt", "backbone tiny")
    assert "\n" not in str(caught.value)


def test_a_file_without_a_text_tower_is_one_line(tmp_path: Path):
    state = {name: value for name, value in whole("clip").state_dict().items() if name.startswith("visual.")}
    torch.save(state, tmp_path / "visual.pt")
    with pytest.raises(
        UserError, match=r"^backbone x: the weights visual\.pt have no text tower; take those of a whole CLIP model$"
    ):
        load_text_tower(described("clip"), tokenizer(), tmp_path / "visual.pt", "backbone x")


def test_parts_that_would_be_fetched_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # the environment was read when it was imported
    config = {**CONFIGS["clip"], "text_cfg": {"hf_model_name": "somebody/a-text-tower-that-no-hub-has"}}
    with pytest.raises(UserError, match=r"^backbone x: its text tower is not made by open_clip: ") as caught:
        build_text_tower(OpenClipModel("x", "", config, {}), "backbone x")
    assert "\n" not in str(caught.value)


def test_the_global_generator_is_left_alone(tmp_path: Path):
    before = torch.random.get_rng_state()
    build_text_tower(described("clip"), "x")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an architecture that open_clip knows by name, with its own vocabulary."""
    folder = tmp_path_factory.mktemp("registered")
    config = {**CONFIGS["clip"], "text_cfg": {**TEXT, "vocab_size": 49408}}
    (folder / "fewbench-read.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "fewbench-read.json")
    with seeded(0):
        torch.save(open_clip.create_model("fewbench-read").state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


def test_a_loaded_backbone_reads_with_its_own_weights(registered: Path):
    backbone = load_backbone("open_clip:fewbench-read", {}, registered)
    tower = backbone.text_tower()
    reference: Any = open_clip.create_model("fewbench-read", pretrained=str(registered)).eval()
    with torch.no_grad():
        expected = reference.encode_text(open_clip.get_tokenizer("fewbench-read")(TEXTS))
        torch.testing.assert_close(tower(tower.tokenize(TEXTS)), expected)
    assert "text" not in json.dumps(encode(backbone.section(Encoding())))


def test_a_backbone_of_images_alone_names_those_with_texts():
    with pytest.raises(UserError, match=r"^backbone Conv4 has no text tower; take --backbone clip-tiny or open_clip:ARCH/TAG$"):
        load_backbone(
            "conv4", {}, next(Path(__file__).parents[4].glob("benchmark/backbones/weights/shipped/conv4-tri*.safetensors"))
        ).text_tower()
    with pytest.raises(UserError, match="has no text tower"):
        make_backbone("conv4", {}).dual_encoder(3, 32, torch.Generator())
