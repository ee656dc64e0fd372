"""Weights that were given the released names come back as the networks that they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from fewbench.benchmark import RunConfig, run
from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.relation_encoder import RelationEncoder
from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, read_description
from fewbench.benchmark.backbones.weights.conversion import convert
from fewbench.benchmark.backbones.weights.description import Description
from fewbench.benchmark.backbones.weights.loading import learned_part, load_backbone
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.adaptation.maml import MAML
from fewbench.methods.base import Method
from fewbench.methods.metric.relation_net import RelationNet
from fewbench.methods.parts.inner_loop import Head
from fewbench.tasks.episodes import Episodes

WAYS, SHOTS, QUERIES = 3, 2, 4


def disturbed(module: nn.Module, seed: int) -> nn.Module:
    """With biases and batch-norm statistics that are not those of the start."""
    generator = Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(std=0.1, generator=generator)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif name.startswith("fc"):
            value.normal_(std=0.3, generator=generator)
    return module.eval()


def without_counters(module: nn.Module) -> dict[str, Tensor]:
    """As files of PyTorch before 0.4.1 are."""
    return {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}


@pytest.fixture(params=[(1, 28), (3, 84)], ids=["omniglot", "mini-imagenet"])
def relation(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[Path], nn.Module, nn.Module]:
    """Two files as the authors released them, and the networks."""
    channels, size = request.param
    encoder = disturbed(RelationEncoder().build(channels, size, Generator().manual_seed(1)), 2)
    width = encoder(torch.zeros(1, channels, size, size)).shape[1]
    module = disturbed(RelationNet().learned_part(encoder, width, WAYS, Generator().manual_seed(3)), 4)
    files = [tmp_path / "encoder.pkl", tmp_path / "relation.pkl"]
    for path, part in zip(files, (encoder, module), strict=True):
        torch.save(without_counters(part), path, _use_new_zipfile_serialization=False)
    return files, encoder, module


def described(path: Path) -> Description:
    description = read_description(path)
    assert description is not None
    return description


def episodes(images: Tensor, backbone: nn.Module, learned: nn.Module, inputs: str) -> Episodes:
    """One episode of images [R, C, H, W], or of what the backbone makes of them."""
    rows = images if inputs == "images" else backbone(images)
    shots = WAYS * SHOTS
    return Episodes(
        support=rows[None, :shots],
        support_labels=torch.arange(WAYS).repeat(SHOTS)[None],
        query=rows[None, shots:],
        ways=WAYS,
        class_mask=torch.ones(1, WAYS, dtype=torch.bool),
        seeds=torch.zeros(1, dtype=torch.int64),
        backbone=backbone if inputs == "images" else None,
        learned=learned,
    )


def scores(method: Method, images: Tensor, backbone: nn.Module, learned: nn.Module) -> Tensor:
    with torch.no_grad():
        return method.classify(episodes(images, backbone, learned, method.inputs_with("none")))


def images_for(preprocess: Preprocess) -> Tensor:
    rows = WAYS * (SHOTS + QUERIES)
    return torch.rand(rows, preprocess.channels, preprocess.size, preprocess.size, generator=Generator().manual_seed(5))


@pytest.mark.parametrize("bn", ["running", "batch"])
def test_relation_networks_score_as_before(bn, relation, tmp_path: Path):
    files, encoder, module = relation
    path = convert("relation-net", files, tmp_path / "out.safetensors")
    loaded = load_backbone("relation-encoder", {}, path)
    method = RelationNet(bn=bn)
    learned = learned_part(method, "relation-net", loaded, None, read_checkpoint(path))
    assert learned is not None
    images = images_for(loaded.preprocess)
    sign = -1 if images.shape[1] == 1 else 1  # grey drawings are inverted in the released code
    expected = scores(method, sign * images, encoder, module)
    assert expected.std() > 1e-3
    assert torch.equal(scores(method, images, loaded.module, learned), expected)


PORTS = {  # names of convolution, norm and classifier, the number of the first block, and whether running statistics are kept
    "torchmeta": ("features.{}.0", "features.{}.1", "classifier", 0, False),
    "pytorch-maml": ("features.layer{}.conv", "features.layer{}.norm", "classifier", 1, False),
    "learn2learn": ("features.{}.conv", "features.{}.normalize", "classifier", 0, True),
    "older learn2learn": ("base.{}.conv", "base.{}.normalize", "linear", 0, True),
}


def port(which: str, channels: int, size: int, width: int = 8) -> tuple[dict[str, Tensor], nn.Module, nn.Module]:
    """Tensors by the names of a port, and Conv-4 and its head."""
    network = disturbed(Conv4(width=width).build(channels, size, Generator().manual_seed(1)), 2)
    head = disturbed(Head(network(torch.zeros(1, channels, size, size)).shape[1], WAYS, Generator().manual_seed(3)), 4)
    convolution, norm, classifier, first, statistics = PORTS[which]
    tensors = {f"{classifier}.{name}": value for name, value in head.state_dict().items()}
    for name, value in without_counters(network).items():
        block, place, rest = name.split(".")
        if statistics or "running" not in rest:
            tensors[f"{(convolution, norm)[int(place)].format(int(block) + first)}.{rest}"] = value
    return tensors, network, head


@pytest.mark.parametrize("statistics", ["queries", "support"])
@pytest.mark.parametrize(
    ("which", "channels", "size"),
    [("torchmeta", 1, 28), ("pytorch-maml", 3, 84), ("learn2learn", 3, 84), ("older learn2learn", 3, 32)],
)
def test_ports_of_maml_score_as_before(which: str, channels: int, size: int, statistics, tmp_path: Path):
    tensors, network, head = port(which, channels, size)
    torch.save({"model": tensors}, tmp_path / "maml.th")
    path = convert("maml", [tmp_path / "maml.th"], tmp_path / "out.safetensors", settings={"inner_learning_rate": "0.01"})
    loaded = load_backbone("conv4", {}, path)
    assert (loaded.preprocess.channels, loaded.preprocess.size, loaded.parameters["width"]) == (channels, size, 8)
    method = MAML(inner_learning_rate=0.01, statistics=statistics)
    learned = learned_part(method, "maml", loaded, None, read_checkpoint(path))
    assert learned is not None
    images = images_for(loaded.preprocess)
    expected = scores(method, images, network, head)
    assert expected.std() > 1e-3
    torch.testing.assert_close(scores(method, images, loaded.module, learned), expected)
    assert described(path).method.parameters["inner_learning_rate"] == 0.01  # type: ignore[union-attr]


def test_images_are_made_ready_as_in_the_released_code(relation, tmp_path: Path):
    path = convert("relation-net", relation[0], tmp_path / "out.safetensors")
    preprocess = described(path).preprocess
    pixels = torch.randint(256, (2, preprocess.size, preprocess.size, preprocess.channels), dtype=torch.uint8)
    value = pixels.permute(0, 3, 1, 2) / 255
    drawn = 1 - value if preprocess.channels == 1 else value  # theirs: black ink on white paper
    sign = -1 if preprocess.channels == 1 else 1  # the first convolution has the other
    torch.testing.assert_close(sign * preprocess(pixels), (drawn - 0.92206) / 0.08426, rtol=1e-4, atol=1e-4)


def test_learn2learn_takes_pixels_up_to_255(tmp_path: Path):
    torch.save(port("learn2learn", 3, 84)[0], tmp_path / "maml.pt")
    path = convert("maml", [tmp_path / "maml.pt"], tmp_path / "out.safetensors")
    white = torch.full((1, 84, 84, 3), 255, dtype=torch.uint8)
    assert described(path).preprocess(white).mean().item() == pytest.approx(255)


def test_the_description_says_what_is_known(relation, tmp_path: Path):
    unknown = described(convert("relation-net", relation[0], tmp_path / "unknown.safetensors"))
    assert unknown.pretraining.dataset == "unknown" and unknown.pretraining.external is True
    assert unknown.pretraining.recipe.startswith("released weights of Sung et al. 2018")
    path = convert("relation-net", relation[0], tmp_path / "known.safetensors", "mini-imagenet", 20, external=False)
    known = described(path)
    assert known.pretraining.dataset == "mini-imagenet" and known.pretraining.external is False
    assert known.method is not None and known.method.ways == 20
    assert known.made_by.command == (
        "bench convert-weights --layout relation-net --output known.safetensors --dataset mini-imagenet --ways 20 "
        "--no-external encoder.pkl relation.pkl"
    )


def test_a_converted_checkpoint_is_evaluated(tiny: str, tmp_path: Path):
    torch.save(port("torchmeta", 3, 32)[0], tmp_path / "maml.pt")
    path = convert("maml", [tmp_path / "maml.pt"], tmp_path / "out.safetensors")
    config = RunConfig("maml", dataset=tiny, checkpoint=str(path), ways=WAYS, episodes=4, queries=2, results=tmp_path)
    record = run(config)
    assert np.isfinite(record.accuracies).all()
    assert record.backbone.pretraining.recipe == "released weights of torchmeta"


def changed(tensors: Mapping[str, Tensor], **changes: Tensor | None) -> dict[str, Tensor]:
    both = {**tensors, **{name.replace("__", "."): value for name, value in changes.items()}}
    return {name: value for name, value in both.items() if value is not None}


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (changed(port("torchmeta", 3, 32)[0], features__0__0__weight=None), "of no port of MAML that is known"),
        (changed(port("torchmeta", 3, 32)[0], classifier__weight=None), "has no linear classifier classifier.weight"),
        (changed(port("torchmeta", 3, 32)[0], features__2__1__bias=None), "2.1.bias is not in the file"),
        (changed(port("torchmeta", 3, 32)[0], features__2__0__bias=torch.ones(7)), r"2.0.bias is \[7\] and not \[8\]"),
        (changed(port("torchmeta", 3, 32)[0], features__4__0__bias=torch.ones(7)), "features.4.0.bias is in the file alone"),
        (changed(port("torchmeta", 3, 32)[0], classifier__weight=torch.ones(3, 72)), "takes 72 numbers"),
        (changed(port("torchmeta", 3, 32)[0], features__0__0__weight=torch.ones(8, 2, 3, 3)), "images of 2 channels"),
        (port("learn2learn", 1, 28)[0], "OmniglotCNN"),
    ],
)
def test_other_tensors_are_refused_in_one_line(tensors: dict[str, Tensor], says: str, tmp_path: Path):
    torch.save(tensors, tmp_path / "maml.pt")
    with pytest.raises(UserError, match=says) as caught:
        convert("maml", [tmp_path / "maml.pt"], tmp_path / "out.safetensors")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("maml.pt: ")
    assert not (tmp_path / "out.safetensors").exists()


def test_files_in_the_wrong_order_and_of_another_size_are_refused(relation, tmp_path: Path):
    encoder, module = relation[0]
    with pytest.raises(UserError, match="the first file is no CNNEncoder of relation networks; give the encoder, then"):
        convert("relation-net", [module, encoder], tmp_path / "out.safetensors")
    with pytest.raises(UserError, match="the second file is no RelationNetwork"):
        convert("relation-net", [encoder, encoder], tmp_path / "out.safetensors")
    tensors = torch.load(module, weights_only=True)
    own = tensors["fc1.weight"].shape[1]
    other = {64: 576, 576: 64}[own]
    torch.save(changed(tensors, fc1__weight=torch.ones(8, other)), module)  # of the other dataset's training
    says = rf"the two files are no pair: an encoder of \w+ images .* fc1.weight takes {own} numbers, and here it takes {other}$"
    with pytest.raises(UserError, match=says):
        convert("relation-net", [encoder, module], tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"layout": "relation_net"}, "unknown layout 'relation_net'; known: relation-net, maml"),
        ({"layout": "relation-net"}, "takes 2 of FILE, the encoder then the relation module; 1 given"),
        ({"output": Path("out.pt")}, "a checkpoint is a safetensors file, such as out.safetensors"),
        ({"dataset": "omniglott"}, "did you mean 'omniglot'"),
        ({"external": False}, "name their --dataset"),
        ({"ways": 4}, "--ways 4: the classifier in maml.pt has 3"),
        ({"settings": {"inner_rate": "1"}}, "has no parameter 'inner_rate'"),
        ({"files": [Path("absent.pt")]}, "absent.pt: no such file"),
    ],
)
def test_a_mistake_is_a_usage_error(arguments: dict, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save(port("torchmeta", 3, 32)[0], "maml.pt")
    given = {"layout": "maml", "files": [Path("maml.pt")], "output": Path("out.safetensors"), **arguments}
    with pytest.raises(UsageError, match=says):
        convert(**given)
    assert not list(tmp_path.glob("out.*"))


def test_an_output_that_is_there_is_replaced_on_request_alone(tmp_path: Path):
    torch.save(port("torchmeta", 3, 32)[0], tmp_path / "maml.pt")
    path = convert("maml", [tmp_path / "maml.pt"], tmp_path / "out.safetensors")
    with pytest.raises(UsageError, match="is there already"):
        convert("maml", [tmp_path / "maml.pt"], path)
    assert convert("maml", [tmp_path / "maml.pt"], path, overwrite=True) == path
