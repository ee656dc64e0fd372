import os
from pathlib import Path

import pytest
import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.layers.evo_norm import EvoNorm2dS0
from timm.layers.norm import LayerNorm2d, RmsNorm, RmsNorm2d
from timm.layers.norm_act import BatchNormAct2d, GroupNormAct

from fewbench.benchmark import registry
from fewbench.benchmark.backbones import timm_backbone
from fewbench.benchmark.backbones.base import Preprocess, feature_width
from fewbench.benchmark.backbones.weights.description import UNKNOWN
from fewbench.benchmark.backbones.weights.find import find_weights
from fewbench.benchmark.backbones.weights.loading import load_backbone, make_backbone
from fewbench.benchmark.config import RunConfig
from fewbench.benchmark.evaluation.plan import make_plan
from fewbench.benchmark.features.encode import Encoding
from fewbench.core.errors import UsageError, UserError
from fewbench.core.files import sha256_of

SMALL = "test_efficientnet"  # 0.1 million parameters
SHARED = Path(os.environ.get("FEWBENCH_SHARED") or Path(__file__).parents[4] / "shared")
MOBILENET = SHARED / "data" / "weights" / "mobilenetv2_100_tfsame_dequant_fp32.pt"


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def classifier() -> torch.nn.Module:
    """A small model with a head, and statistics that are not those of new batch norms."""
    torch.manual_seed(5)
    model = timm.create_model(SMALL, num_classes=7).eval()
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(std=0.1)
    return model


@pytest.fixture
def weights(classifier: torch.nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "trained.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in classifier.state_dict().items()}}, path)
    return path


def test_a_file_of_a_classifier_becomes_a_feature_extractor(classifier: torch.nn.Module, weights: Path, listener):
    backbone = load_backbone(f"timm:{SMALL}", {}, weights, listener)
    images = torch.rand(2, 3, 160, 160, generator=seeded(0))
    with torch.no_grad():
        expected = classifier.forward_head(classifier.forward_features(images), pre_logits=True)  # type: ignore[operator]
        torch.testing.assert_close(backbone.module(images), expected)
    assert expected.std() > 0 and backbone.feature_dim == expected.shape[1]
    (line,) = listener.said
    assert f"tensors of timm:{SMALL} match; not used: classifier.weight, classifier.bias" in line
    assert (backbone.name, backbone.weights, backbone.weights_sha256) == (f"timm:{SMALL}", "trained", sha256_of(weights))
    assert backbone.pretraining == UNKNOWN


@pytest.mark.parametrize("name", [SMALL, "mobilenetv2_100", "vit_tiny_patch16_224"])
def test_images_are_made_as_timm_says(name: str):
    data = resolve_model_data_config(timm.create_model(name, num_classes=0))
    expected = Preprocess(data["input_size"][0], data["input_size"][1], data["mean"], data["std"])
    assert make_backbone(f"timm:{name}", {}).preprocess() == expected


def test_a_model_of_fixed_size_takes_another_as_img_size():
    backbone = make_backbone("timm:vit_tiny_patch16_224", {"img_size": "64"})
    module = backbone.build(3, 64, seeded(0)).eval()
    assert backbone.preprocess().size == 64 and feature_width(module, backbone.preprocess()) == 192
    other = Preprocess(3, 80, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(UserError, match=r"takes no images of 80×80 pixels \(.*64.*\); set backbone\.size$"):
        feature_width(module, other)


def test_arguments_reach_timm_and_the_record(weights: Path):
    plain = load_backbone(f"timm:{SMALL}", {}, weights)
    same = load_backbone(f"timm:{SMALL}", {"pad_type": "same", "drop_rate": "0.25"}, weights)
    assert same.parameters == {"pad_type": "same", "drop_rate": 0.25}
    assert same.section(Encoding()).changed == ("pad_type", "drop_rate")
    assert plain.parameters == {} and plain.section(Encoding()).changed == ()
    images = torch.rand(1, 3, 160, 160, generator=seeded(0))
    assert not torch.allclose(same.module(images), plain.module(images))
    assert load_backbone(f"timm:{SMALL}", same.parameters, weights).section(Encoding()) == same.section(Encoding())


@pytest.mark.parametrize(
    ("text", "value"), [("same", "same"), ("3", 3), ("0.5", 0.5), ("True", True), ("None", None), ("{1, 2}", "{1, 2}"), (4, 4)]
)
def test_text_becomes_the_value_that_it_spells(text: object, value: object):
    assert make_backbone(f"timm:{SMALL}", {"a": text}).parameters == {"a": value}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("test_efficientne", {}, r"has no such model; did you mean 'test_efficientnet'\?$"),
        ("resnet50.zzzzzzzzzzzzzzzzzzzz", {}, r"no such weights of resnet50; known: (\S+, ){4}\S+ and \d+ more$"),
        ("", {}, r"has no such model; python -c 'import timm; print\(\*timm\.list_models\(\)\)' lists them$"),
        (f"{SMALL}.r161_in1k", {}, rf"no such weights of {SMALL}; did you mean '{SMALL}\.r160_in1k'\?$"),
        (SMALL, {"num_classes": "5"}, r"backbone\.num_classes cannot be set, fewbench gives timm its value$"),
        (SMALL, {"pretrained": "True"}, r"backbone\.pretrained cannot be set"),
        (SMALL, {"depth": "5"}, r"is not made by timm: TypeError: .*unexpected keyword argument 'depth'$"),
        (SMALL, {"features_only": "True"}, r"the backbone gives list for one image, not features \[1, D\]$"),
        (SMALL, {"std": "0"}, r"std=0, 0, 0: above 0$"),
    ],
)
def test_what_timm_cannot_do_is_one_line(name: str, settings: dict, message: str, weights: Path):
    with pytest.raises(UserError, match=message) as caught:
        load_backbone(f"timm:{name}", settings, weights)
    assert "\n" not in str(caught.value)


def test_weights_of_another_architecture_are_refused(weights: Path):
    with pytest.raises(UserError, match=r"^--weights trained\.pth do not fit backbone timm:test_resnet: \d+ of \d+ tensors"):
        load_backbone("timm:test_resnet", {}, weights)


def test_any_name_of_the_family_is_registered():
    entry = registry.find("backbones", "timm:resnet18")
    assert (entry.name, entry.origin, registry.load(entry)) == ("timm:resnet18", "fewbench", timm_backbone.TimmBackbone)
    assert registry.knows("backbones", "timm:resnet18") and not registry.knows("backbones", "tim:resnet18")
    with pytest.raises(UsageError, match="unknown backbone 'tim:resnet18'"):
        registry.find("backbones", "tim:resnet18")


@pytest.fixture
def hub(classifier: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub that holds one file."""
    path = tmp_path / "model.bin"
    torch.save(classifier.state_dict(), path)
    asked = (f"timm/{SMALL}.r160_in1k", None, ("model.safetensors", "pytorch_model.bin"), f"backbone timm:{SMALL}")
    monkeypatch.setattr(timm_backbone, "fetch", lambda *arguments: {asked: path}[arguments])
    return path


def test_without_weights_the_hub_gives_them(hub: Path, classifier: torch.nn.Module, listener):
    assert find_weights(f"timm:{SMALL}", None, "any") is None
    backbone = load_backbone(f"timm:{SMALL}", {}, None, listener)
    state = classifier.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in backbone.module.state_dict().items())
    assert (backbone.weights, backbone.weights_sha256) == (f"timm/{SMALL}.r160_in1k", sha256_of(hub))
    assert find_weights(f"timm:{SMALL}", backbone.weights, "any") is None  # the name in a record finds them again
    assert backbone.pretraining.external and listener.said == [f"backbone timm:{SMALL}: pretrained weights {backbone.weights}"]


def test_images_that_the_model_refuses_are_told_before_weights_are_fetched_or_matched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(timm_backbone, "fetch", None)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    settings = {"depth": "1", "size": "100"}
    for weights in (None, tmp_path / "other.pth"):
        with pytest.raises(UserError, match=r"^the backbone takes no images of 100×100 pixels \(.*\); set backbone\.size$"):
            load_backbone("timm:vit_tiny_patch16_224", settings, weights)


@pytest.mark.parametrize(
    ("name", "settings", "parts"),
    [
        ("vit_tiny_patch16_224", {"depth": 3}, {"blocks.2", "norm"}),
        ("resnet18", {}, {"layer4.1"}),
        ("convnext_atto", {}, {"stages.3.blocks.1", "head.norm"}),
        ("mobilenetv2_100", {}, {"blocks.6.0", "conv_head", "bn2"}),
        ("mobilenetv3_small_100", {}, {"blocks.5.0", "conv_head"}),
        ("vgg11", {}, {"features.18", "pre_logits"}),
        ("vgg11_bn", {}, {"features.25", "features.26", "pre_logits"}),
        ("vit_base_patch16_siglip_224", {"depth": 2}, {"blocks.1", "norm", "attn_pool"}),
        ("legacy_xception", {}, {"block12", "conv3", "bn3", "conv4", "bn4"}),
        ("inception_v3", {}, {"Mixed_7c"}),
        ("poolformer_s12", {}, {"stages.3.blocks.1", "head.norm"}),  # which has no groups of timm
    ],
)
def test_the_last_block_is_the_last_that_timm_numbers_with_what_follows(name: str, settings: dict, parts: set[str]):
    backbone = make_backbone(f"timm:{name}", settings)
    with torch.device("meta"):
        module = timm.create_model(name, num_classes=0, **settings)
    expected = {name for name, _ in module.named_parameters() if name.startswith(tuple(f"{part}." for part in parts))}
    assert backbone.last_block(module) == expected
    assert all(any(name.startswith(f"{part}.") for name in expected) for part in parts)


def test_norms_that_timm_wrote_itself_are_norms():
    layers = make_backbone("timm:resnet18", {}).norm_layers
    for layer in (RmsNorm(4), RmsNorm2d(4), LayerNorm2d(4), BatchNormAct2d(4), GroupNormAct(4, 2), EvoNorm2dS0(16)):
        assert isinstance(layer, layers)
    assert not isinstance(torch.nn.Linear(2, 2), layers)


def test_a_plan_takes_timm_models(weights: Path, tiny: str, tmp_path: Path, listener):
    config = RunConfig(
        dataset=tiny, backbone=f"timm:{SMALL}", weights=str(weights), settings={"backbone.size": "32"}, results=tmp_path
    )
    plan = make_plan(config, listener)
    assert plan.path().name.startswith(f"protonet-timm-{SMALL}-")
    assert plan.backbone_section().parameters == {"size": 32}
    assert len(listener.said) == 1


def test_the_real_mobilenet_loads():
    if not MOBILENET.is_file():
        pytest.skip(f"{MOBILENET.name} is not in FEWBENCH_SHARED or ../shared")
    backbone = load_backbone("timm:mobilenetv2_100", {"pad_type": "same", "mean": "0.5", "std": "0.5"}, MOBILENET)
    assert backbone.feature_dim == 1280
    assert backbone.preprocess == Preprocess(3, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    images = torch.tensor([[[[0, 0, 0]]], [[[255, 255, 255]]]], dtype=torch.uint8).expand(2, 224, 224, 3)
    ready = backbone.preprocess(images)
    assert (ready.min(), ready.max()) == (-1, 1)  # x / 127.5 − 1
    with torch.no_grad():
        features = backbone.module(ready)
    assert features.isfinite().all() and features.min() >= 0 and 0.1 < features.mean() < 10  # after ReLU6 and pooling
