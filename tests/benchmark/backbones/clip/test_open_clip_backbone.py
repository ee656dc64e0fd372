import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from fewbench.benchmark import registry
from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.clip import open_clip_models
from fewbench.benchmark.backbones.weights.find import find_weights
from fewbench.benchmark.backbones.weights.loading import load_backbone, make_backbone
from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.config import RunConfig
from fewbench.benchmark.evaluation.plan import make_plan
from fewbench.core.errors import UsageError, UserError
from fewbench.core.files import sha256_of

TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 2], "width": 4, "head_width": 32}
CONFIGS = {
    "fewbench-vit": {"embed_dim": 12, "vision_cfg": VIT, "text_cfg": TEXT},
    "fewbench-vit-quickgelu": {"embed_dim": 12, "vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "fewbench-wide": {"embed_dim": 12, "vision_cfg": {**VIT, "image_size": [32, 48]}, "text_cfg": TEXT},
    "fewbench-tokens": {
        "embed_dim": 12,
        "vision_cfg": {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT,
    },
    "fewbench-resnet": {"embed_dim": 12, "vision_cfg": RESNET, "text_cfg": TEXT},
    "fewbench-timm": {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "timm_model_name": "test_efficientnet"},
        "text_cfg": {"hf_model_name": "somebody/a-text-tower-that-no-hub-has"},
        "custom_text": True,
    },
    "fewbench-convnext": {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "timm_model_name": "test_convnext", "timm_proj": "mlp"},
        "text_cfg": TEXT,
    },
}
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("open_clip")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def whole() -> torch.nn.Module:
    """A whole CLIP model with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return open_clip.create_model("fewbench-vit").eval()


@pytest.fixture
def weights(whole: torch.nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "clip.pt"
    torch.save(whole.state_dict(), path)
    return path


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_whole_models_file_gives_its_image_features(whole: torch.nn.Module, tmp_path: Path, prefix: str):
    path = tmp_path / "clip.pt"
    torch.save({"state_dict": {f"{prefix}{name}": value for name, value in whole.state_dict().items()}}, path)
    backbone = load_backbone("open_clip:fewbench-vit", {}, path)
    with torch.no_grad():
        expected = whole.encode_image(IMAGES)  # type: ignore[operator]
        torch.testing.assert_close(backbone.module(IMAGES), expected)
        assert not torch.allclose(expected.norm(dim=1), torch.ones(3))  # they are not normalised
    assert backbone.feature_dim == 12 and backbone.weights_sha256 == sha256_of(path)
    assert all(name.startswith("visual.") for name in backbone.module.state_dict())


def test_a_file_of_the_image_tower_alone_suffices(whole: torch.nn.Module, weights: Path, tmp_path: Path):
    alone = tmp_path / "visual.pt"
    torch.save({name: value for name, value in whole.state_dict().items() if name.startswith("visual.")}, alone)
    found, expected = (load_backbone("open_clip:fewbench-vit", {}, path).module(IMAGES) for path in (alone, weights))
    torch.testing.assert_close(found, expected)


def test_quick_gelu_variants_compute_otherwise_as_open_clip_does(weights: Path):
    quick = load_backbone("open_clip:fewbench-vit-quickgelu", {}, weights).module
    reference: Any = open_clip.create_model("fewbench-vit", pretrained=str(weights), force_quick_gelu=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(quick(IMAGES), reference.encode_image(IMAGES))
    plain = load_backbone("open_clip:fewbench-vit", {}, weights).module
    assert not torch.allclose(quick(IMAGES), plain(IMAGES), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "quick"),
    [("ViT-B-32/openai", True), ("ViT-B-32/laion2b_s34b_b79k", False), ("ViT-B-32", False), ("ViT-B-32-quickgelu", True)],
)
def test_a_tag_knows_whether_it_needs_quick_gelu(name: str, quick: bool):
    assert open_clip_models.find_model(name, "backbone").quick_gelu is quick


@pytest.mark.parametrize("name", ["fewbench-tokens", "fewbench-resnet", "fewbench-timm", "fewbench-convnext"])
def test_towers_of_every_kind_give_one_vector_an_image(name: str):
    module = make_backbone(f"open_clip:{name}", {}).build(3, 32, torch.Generator().manual_seed(0)).eval()
    assert module(IMAGES).shape == (3, 12)


@pytest.mark.parametrize(
    ("name", "size", "mean", "std"),
    [
        ("ViT-B-32/openai", 224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ("ViT-L-14-336", 336, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ("ViT-B-16-SigLIP-256/webli", 256, (0.5,) * 3, (0.5,) * 3),
        ("ViT-B-16-SigLIP-256", 256, (0.5,) * 3, (0.5,) * 3),
        ("MobileCLIP-S1/datacompdr", 256, (0.0,) * 3, (1.0,) * 3),
        ("fewbench-vit", 32, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ],
)
def test_images_are_made_as_the_model_says(name: str, size: int, mean: tuple, std: tuple):
    assert make_backbone(f"open_clip:{name}", {}).preprocess() == Preprocess(3, size, mean, std)


def test_images_that_are_not_square_are_refused():
    with pytest.raises(UsageError, match="its images are 32×48 pixels; only square ones are made"):
        make_backbone("open_clip:fewbench-wide", {}).preprocess()


def test_initial_weights_depend_on_the_generator_alone():
    backbone = make_backbone("open_clip:fewbench-vit", {})

    def proj(seed: int) -> torch.Tensor:
        return backbone.build(3, 32, torch.Generator().manual_seed(seed)).state_dict()["visual.proj"]

    before = torch.random.get_rng_state()
    first, again, other = proj(0), proj(0), proj(1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("fewbench-vit", ["transformer.resblocks.1.", "ln_post.", "proj"]),
        ("fewbench-tokens", ["transformer.resblocks.1.", "attn_pool.", "ln_post.", "proj"]),
        ("fewbench-resnet", ["layer4.1.", "attnpool."]),
        ("fewbench-timm", ["trunk.blocks.4.0.", "trunk.conv_head.", "trunk.bn2.", "head."]),
        ("fewbench-convnext", ["trunk.stages.3.blocks.1.", "trunk.head.norm.", "head."]),
    ],
)
def test_the_last_block_is_freed_with_what_follows(name: str, parts: list[str]):
    backbone = make_backbone(f"open_clip:{name}", {})
    module = backbone.build(3, 32, torch.Generator().manual_seed(0))
    names = [parameter for parameter, _ in module.named_parameters()]
    for part in parts:
        assert any(parameter.startswith(f"visual.{part}") for parameter in names), part
    expected = {parameter for parameter in names if parameter.startswith(tuple(f"visual.{part}" for part in parts))}
    assert backbone.last_block(module) == expected


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("RN50/openai", {"visual.layer4.2", "visual.attnpool"}),
        ("convnext_base", {"visual.trunk.stages.3.blocks.2", "visual.trunk.head.norm", "visual.head.proj"}),
    ],
)
def test_the_last_block_of_real_towers(name: str, parts: set[str]):
    backbone = make_backbone(f"open_clip:{name}", {})
    module = backbone.build(3, backbone.preprocess().size, torch.Generator().manual_seed(0))
    expected = {name for name, _ in module.named_parameters() if name.startswith(tuple(f"{part}." for part in parts))}
    assert backbone.last_block(module) == expected
    assert all(any(name.startswith(f"{part}.") for name in expected) for part in parts)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ViT-B-33/openai", {}, r"has no architecture 'ViT-B-33'; did you mean 'ViT-B-32'\?$"),
        ("zzz", {}, r"has no architecture 'zzz'; python -c 'import open_clip; .*' lists them$"),
        ("ViT-B-32/opnai", {}, r"open_clip has no weights 'opnai' of ViT-B-32; did you mean 'openai'\?$"),
        ("RN50/zzz", {}, r"has no weights 'zzz' of RN50; known: cc12m, openai, yfcc15m$"),
        ("ViT-B-32/zzz", {}, r"has no weights 'zzz' of ViT-B-32; known: (\S+, ){4}\S+ and \d+ more$"),
        ("fewbench-vit", {"width": "3"}, r"backbone open_clip:fewbench-vit has no parameter 'width'; it has none$"),
        ("fewbench-vit", {"channels": "1"}, r"it takes colour images; leave backbone\.channels at 3"),
        ("fewbench-vit", {"size": "64"}, r"takes no images of 64×64 pixels .*set backbone\.size$"),
        ("fewbench-resnet", {}, r"^--weights clip\.pt do not fit backbone open_clip:fewbench-resnet: "),
    ],
)
def test_what_cannot_be_is_one_line(name: str, settings: dict, message: str, weights: Path):
    with pytest.raises(UserError, match=message) as caught:
        load_backbone(f"open_clip:{name}", settings, weights)
    assert "\n" not in str(caught.value)


def test_any_name_of_the_family_is_registered():
    assert "open_clip:NAME" in BUILT_IN["backbones"]
    assert registry.find("backbones", "open_clip:ViT-B-32/openai").name == "open_clip:ViT-B-32/openai"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, weights: Path) -> list[tuple]:
    """A tag of the tiny model, and a hub that has its weights; what the hub was asked."""
    pretrained = {"hf_hub": "somebody/tiny/", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "quick_gelu": True}
    asked: list[tuple] = []

    def fetch(*arguments) -> Path:
        asked.append(arguments)
        return weights

    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: pretrained if tag == "ours" else {})
    monkeypatch.setattr(open_clip_models, "fetch", fetch)
    return asked


def test_a_tags_weights_come_from_the_hub(hub: list[tuple], weights: Path):
    name = "open_clip:fewbench-vit/ours"
    backbone = load_backbone(name, {}, None)
    assert [arguments[:3] for arguments in hub] == [("somebody/tiny", None, open_clip_models.FILES)]
    assert (backbone.weights, backbone.weights_sha256) == ("somebody/tiny", sha256_of(weights))
    assert backbone.preprocess == Preprocess(3, 32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert backbone.pretraining.external
    assert find_weights(name, None, "any") is None and find_weights(name, "somebody/tiny", "any") is None
    quick = load_backbone("open_clip:fewbench-vit-quickgelu", {}, weights).module
    torch.testing.assert_close(backbone.module(IMAGES), quick(IMAGES))


def test_images_that_the_tower_refuses_are_told_before_the_hub_is_asked(hub: list[tuple]):
    with pytest.raises(UserError, match=r"takes no images of 64×64 pixels .*set backbone\.size$"):
        load_backbone("open_clip:fewbench-vit/ours", {"size": "64"}, None)
    assert hub == []


def test_weights_of_the_hub_have_to_match_whole(hub: list[tuple], whole: torch.nn.Module, weights: Path):
    state = {name: value for name, value in whole.state_dict().items() if name != "visual.ln_post.bias"}
    torch.save(state, weights)
    with pytest.raises(UserError, match=r"clip\.pt do not fit .*visual\.ln_post\.bias is not in the file"):
        load_backbone("open_clip:fewbench-vit/ours", {}, None)


@pytest.mark.parametrize(
    ("hf_hub", "repository", "files"),
    [("a/b/", "a/b", open_clip_models.FILES), ("a/b/model.bin", "a/b", ("model.bin",))],
)
def test_a_tag_may_name_its_file(hub: list[tuple], hf_hub: str, repository: str, files: tuple):
    open_clip_models.OpenClipModel("x", "y", {}, {"hf_hub": hf_hub}).fetch("backbone x", "do without")
    assert hub == [(repository, None, files, "backbone x", "do without")]


def test_a_tag_that_is_not_on_the_hub_says_what_to_do():
    with pytest.raises(UserError, match=r"^backbone x: its weights are not on the hub; pass a file with --weights FILE$"):
        open_clip_models.OpenClipModel("x", "y", {}, {"url": "https://example.org"}).fetch("backbone x")


def test_a_plan_takes_the_models(weights: Path, tiny: str, tmp_path: Path):
    config = RunConfig(dataset=tiny, backbone="open_clip:fewbench-vit", weights=str(weights), results=tmp_path)
    plan = make_plan(config)
    assert plan.path().name.startswith("protonet-open_clip-fewbench-vit-")
    section = plan.backbone_section()
    assert section.name == "open_clip:fewbench-vit" and section.feature_dim == 12
    assert section.pretraining is not None and section.pretraining.external
