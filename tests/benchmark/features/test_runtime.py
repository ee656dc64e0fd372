"""Encoding in OpenVINO: what it computes, when it is taken, and what the cache keeps of it."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewbench.benchmark import RunConfig, registry, run
from fewbench.benchmark.backbones.weights.description import UNKNOWN
from fewbench.benchmark.backbones.weights.loading import LoadedBackbone, load_backbone
from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.features import encode as encoding_module
from fewbench.benchmark.features.encode import Encoding, encode
from fewbench.benchmark.features.runtime import AGREES, FILE, NotConverted, converted, gains, version_of
from fewbench.benchmark.features.table import feature_table, key, table_of_rows
from fewbench.core.code_versions import code_of
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.split import Split

CPU = torch.device("cpu")
IN_OPENVINO, IN_TORCH = Encoding(runtime="openvino"), Encoding(runtime="torch")
FAMILIES: dict[str, dict[str, Any]] = {
    "conv4": {"size": 28},
    "relation-encoder": {"size": 28},
    "resnet12": {"size": 28},
    "wrn-28-10": {"size": 16},
    "vit": {"size": 16},
    "clip-tiny": {},
    "timm:mobilenetv2_100": {"size": 32},
    "timm:tf_efficientnet_lite0": {"size": 32},
    "efficientnet-lite0": {"size": 32},
    "efficientnet-lite2": {"size": 32},
    "timm:resnet18": {"size": 32},
    "timm:vit_tiny_patch16_224": {"size": 32, "img_size": 32, "depth": 2},
    "open_clip:small-resnet": {},
    "open_clip:small-vit": {},
}
OPEN_CLIP = {  # the towers of RN50 and of ViT-B-32, with few layers of few channels
    "small-resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "small-vit": {"image_size": 64, "layers": 2, "width": 128, "patch_size": 32},
}


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "openvino", raising=False)  # where it stands for its absence
    monkeypatch.setitem(sys.modules, "openvino_telemetry", None)  # which tells its makers of each conversion, in threads
    pytest.importorskip("openvino", reason="the extra cpu is not installed")


@pytest.fixture
def backbone(tiny_weights: Path) -> LoadedBackbone:
    return load_backbone("conv4", {}, tiny_weights)


@pytest.fixture
def split(tiny: str) -> Split:
    return registry.load(registry.find("datasets", tiny))().split("test")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(7, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def small_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip knows small models of its kinds."""
    import open_clip

    text = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}
    for name, vision in OPEN_CLIP.items():
        config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)


def initial(name: str, size: int | None = None, **settings: Any) -> LoadedBackbone:
    """A backbone with random weights, also of its norms, so that no branch of the network is silent."""
    cls = registry.load(registry.find("backbones", name))
    recipe = cls.from_name(name, settings)
    preprocess = recipe.preprocess() if size is None else replace(recipe.preprocess(), size=size)
    module = recipe.build(preprocess.channels, preprocess.size, torch.Generator().manual_seed(0)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.weight, layer.running_var):
                    cast(Tensor, tensor).uniform_(0.5, 1.5, generator=generator)
        blank = torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size)
        width = module(blank).shape[1]
    return LoadedBackbone(name, recipe, module, preprocess, width, "random", "0" * 64, UNKNOWN, code_of(cls), 1)


def features_of(backbone: LoadedBackbone, images: np.ndarray, encoding: Encoding) -> np.ndarray:
    return np.concatenate([batch.features for batch in encode(backbone, images, CPU, encoding)])


def test_every_family_is_tested():
    built_in = {name for name in BUILT_IN["backbones"] if not name.startswith("imported:")}
    assert {name.partition(":")[0] for name in built_in} == {name.partition(":")[0] for name in FAMILIES}


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_those_of_torch(openvino: None, small_towers: None, name: str, images: np.ndarray):
    backbone = initial(name, **FAMILIES[name])
    expected = features_of(backbone, images, replace(IN_TORCH, batch_size=4))
    found = features_of(converted(backbone, SILENT), images, replace(IN_OPENVINO, batch_size=4))
    assert expected.std(axis=0).max() > 0
    distance = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert distance.max() <= AGREES


@pytest.mark.parametrize(
    ("name", "gain"),
    [("conv4", True), ("resnet12", True), ("timm:mobilenetv2_100", True), ("vit", False), ("timm:vit_tiny_patch16_224", False)],
)
def test_convolutional_networks_gain(name: str, gain: bool):
    assert gains(initial(name).module) is gain
    assert not gains(nn.Identity())


def test_auto_is_torch_unless_all_of_it_fits(monkeypatch: pytest.MonkeyPatch, backbone: LoadedBackbone):
    network, gpu = backbone.module, torch.device("cuda")
    for there in (True, False):
        monkeypatch.setattr(encoding_module, "installed", lambda there=there: there)
        assert Encoding().runtime_for(network, CPU) == ("openvino" if there else "torch")
        for other in (Encoding(precision="bf16"), Encoding(compile=True), IN_TORCH):
            assert other.runtime_for(network, CPU) == "torch"
        assert Encoding().runtime_for(network, gpu) == Encoding().runtime_for(nn.Linear(2, 2), CPU) == "torch"


def test_what_the_runtime_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match=r"^--runtime openvimo: unknown; did you mean 'openvino'\?"):
        Encoding(runtime=cast(Any, "openvimo"))
    monkeypatch.setattr(encoding_module, "installed", lambda: True)
    IN_OPENVINO.check(CPU)
    for other, device in (
        (replace(IN_OPENVINO, precision="bf16"), CPU),
        (replace(IN_OPENVINO, compile=True), CPU),
        (IN_OPENVINO, torch.device("cuda")),
    ):
        with pytest.raises(UsageError, match=r"^--runtime openvino: it runs on a CPU in fp32, without --compile"):
            other.check(device)
    monkeypatch.setattr(encoding_module, "installed", lambda: False)
    with pytest.raises(UserError, match=r"^--runtime openvino: it is not installed; pip install openvino$"):
        IN_OPENVINO.check(CPU)


def test_a_network_is_converted_once(
    openvino: None, backbone: LoadedBackbone, own_cache: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    first = features_of(converted(backbone, SILENT), images, IN_OPENVINO)
    assert len(entries(own_cache)) == 1
    with monkeypatch.context() as patched:
        patched.setattr("openvino.convert_model", lambda *words, **more: pytest.fail("converted again"))
        again = features_of(converted(backbone, SILENT), images, IN_OPENVINO)
    np.testing.assert_array_equal(again, first)
    weights = next(backbone.module.parameters())
    with torch.no_grad():
        weights.mul_(2)  # other weights, other size of images: other conversions
    other = features_of(converted(backbone, SILENT), images, IN_OPENVINO)
    assert np.abs(other - first).max() > 0
    converted(replace(backbone, preprocess=replace(backbone.preprocess, size=32)), SILENT)
    assert len(entries(own_cache)) == 3


@pytest.mark.parametrize("harm", ["cut", "changed", "manifest"])
def test_a_damaged_conversion_is_made_again(
    openvino: None, harm: str, backbone: LoadedBackbone, own_cache: Path, images: np.ndarray, listener
):
    expected = features_of(converted(backbone, SILENT), images, IN_OPENVINO)
    [folder] = entries(own_cache)
    weights = folder / "network.bin"
    content = weights.read_bytes()
    if harm == "manifest":
        (folder / "manifest.json").write_text("{}")
    else:
        weights.write_bytes(content[:-100] if harm == "cut" else bytes([content[0] ^ 1]) + content[1:])
    np.testing.assert_array_equal(features_of(converted(backbone, listener), images, IN_OPENVINO), expected)
    assert weights.read_bytes() == content and (folder / FILE).exists()
    [line] = listener.said
    assert re.match(r"converting conv4 again: .*damaged", line)


def test_a_conversion_of_another_version_is_not_used(
    openvino: None, backbone: LoadedBackbone, own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    converted(backbone, SILENT)
    monkeypatch.setattr("fewbench.benchmark.features.runtime.package_version", lambda name: "1.0")
    converted(backbone, SILENT)
    assert len(entries(own_cache)) == 2


class Unheard(nn.Module):
    """A network that OpenVINO does not take: its operation is known to torch alone."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.qr(x.mean(dim=1))[0].mean(dim=1)


class OfTheBatch(nn.Module):
    """A network whose features depend on the number of images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * len([*x])


@pytest.mark.parametrize("network", [Unheard(), OfTheBatch()])
def test_a_network_that_does_not_convert_runs_in_torch(
    openvino: None, network: nn.Module, backbone: LoadedBackbone, split: Split, own_cache: Path, listener
):
    network.register_parameter("unused", nn.Parameter(torch.zeros(1)))
    width = network(torch.zeros(1, 3, 16, 16)).shape[1]
    other = replace(backbone, module=network, feature_dim=width)
    with pytest.raises(NotConverted):
        converted(other, SILENT)
    table = feature_table(other, split, CPU, listener, IN_OPENVINO)
    assert [line for line in listener.said if line.startswith("backbone conv4 runs in torch: ")] == listener.said != []
    assert all("\n" not in line for line in listener.said)
    assert table.encoded is not None and table.encoded.runtime == version_of("torch")
    np.testing.assert_array_equal(table.features, feature_table(other, split, CPU, SILENT, IN_TORCH).features)
    some = table_of_rows(other, split, np.array([3, 5]), CPU, SILENT, IN_OPENVINO)
    assert some.encoded is None and some.features.shape == (2, width)
    assert entries(own_cache) == []


def test_tables_of_torch_keep_their_keys_and_others_say_their_runtime(openvino: None, backbone: LoadedBackbone, split: Split):
    plain = key(backbone, split)
    assert "runtime" not in plain and key(backbone, split, IN_TORCH) == plain
    assert key(backbone, split, IN_OPENVINO) == {**plain, "runtime": version_of("openvino")}
    in_torch, in_openvino = (feature_table(backbone, split, CPU, SILENT, one) for one in (IN_TORCH, IN_OPENVINO))
    assert in_torch.encoded and in_torch.encoded.runtime == version_of("torch")
    assert in_openvino.encoded and in_openvino.encoded.runtime == version_of("openvino")
    np.testing.assert_allclose(in_openvino.features, in_torch.features, rtol=1e-4, atol=1e-5)


def test_the_runtime_is_noted_in_the_record_and_does_not_name_it(openvino: None, config: RunConfig):
    records = [run(replace(config, runtime=cast(Any, name), overwrite=True)) for name in ("torch", "openvino")]
    torch_record, other = records
    assert torch_record.config_sha256 == other.config_sha256
    assert [one.timing.encoding.runtime for one in records] == [version_of("torch"), version_of("openvino")]
    assert json.loads(other.to_json())["timing"]["encoding"]["runtime"] == version_of("openvino")
    assert abs(torch_record.mean - other.mean) < 1e-3


def test_a_method_on_images_has_no_other_runtime_than_torch(config: RunConfig):
    on_images = replace(config, method="finetune", tune="norm", episodes=4, settings={"steps": 1})
    assert run(replace(on_images, runtime="torch")).n_episodes == 4
    with pytest.raises(UserError, match=r"^--runtime openvino: "):
        run(replace(on_images, runtime="openvino"))


def entries(cache: Path) -> list[Path]:
    """The folders of converted networks."""
    return [*(cache / "networks").glob("[!.]*")]
