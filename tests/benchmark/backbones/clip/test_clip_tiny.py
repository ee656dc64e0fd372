from pathlib import Path

import open_clip
import pytest
import torch
from torch import Generator

from fewbench.benchmark.backbones import tuning
from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.clip.clip_tiny import CONFIG, VOCABULARY_SIZE, ClipTiny
from fewbench.benchmark.backbones.clip.dual_encoder import DualEncoder
from fewbench.benchmark.backbones.weights.checkpoint import write_checkpoint
from fewbench.benchmark.backbones.weights.description import Description
from fewbench.benchmark.backbones.weights.find import find_weights
from fewbench.benchmark.backbones.weights.loading import load_backbone, make_backbone
from fewbench.benchmark.records.answerer import Pretraining
from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.datasets.trifeature import Trifeature

IMAGES = torch.rand(3, 3, 64, 64, generator=Generator().manual_seed(1))
TEXTS = ["a photo of a red striped triangle.", "the bad photo of a purple hourglass", "naïve 北京 🙂"]


@pytest.fixture(scope="module")
def dual() -> DualEncoder:
    made = make_backbone("clip-tiny", {}).dual_encoder(3, 64, Generator().manual_seed(0))
    return made.eval()


@pytest.fixture
def weights(dual: DualEncoder, tmp_path: Path) -> Path:
    path = tmp_path / "clip.safetensors"
    preprocess, seen = Preprocess(3, 64, (0.5,) * 3, (0.25,) * 3), Pretraining("nothing", "random", external=False)
    write_checkpoint(path, dual.model.state_dict(), Description("clip-tiny", {}, preprocess, seen))
    return path


def test_the_model_is_open_clips(dual: DualEncoder):
    assert type(dual.model) is open_clip.CLIP
    tokens = dual.text.tokenize(TEXTS)
    with torch.no_grad():
        image, text, scale = dual.model(IMAGES, tokens)
        torch.testing.assert_close(torch.nn.functional.normalize(dual(IMAGES), dim=1), image)
        torch.testing.assert_close(torch.nn.functional.normalize(dual.text(tokens), dim=1), text)
        torch.testing.assert_close(dual.scale, scale)


def test_the_scale_is_at_most_100(dual: DualEncoder):
    scale = dual.model.get_parameter("logit_scale")
    before = scale.item()
    with torch.no_grad():
        scale.fill_(9.0)
        assert dual.scale.item() == 100
        scale.fill_(before)
    assert dual.scale.item() == pytest.approx(1 / 0.07)


def test_one_file_gives_both_towers(dual: DualEncoder, weights: Path):
    backbone = load_backbone("clip-tiny", {}, weights)
    tower = backbone.text_tower()
    with torch.no_grad():
        torch.testing.assert_close(backbone.module(IMAGES), dual(IMAGES))
        torch.testing.assert_close(tower(tower.tokenize(TEXTS)), dual.text(tower.tokenize(TEXTS)))
        assert not torch.allclose(dual(IMAGES).norm(dim=1), torch.ones(3), atol=1e-2)  # they are not normalised
    assert backbone.feature_dim == 64 and backbone.preprocess.size == 64


def test_every_word_of_trifeature_is_one_token_and_any_text_can_be_read():
    tokenizer = ClipTiny().tokenizer()
    names = [name for split in ("train", "val", "test") for _, name in Trifeature().class_list(split)]
    assert {len(tokenizer.encode(name)) for name in names} == {3}  # type: ignore[attr-defined]
    for text in TEXTS:
        numbers = tokenizer.encode(text)  # type: ignore[attr-defined]
        assert tokenizer.decode(numbers).replace(" ", "") == text.replace(" ", "").lower()  # type: ignore[attr-defined]
        assert max(numbers) < VOCABULARY_SIZE - 2
    assert tokenizer.vocab_size == VOCABULARY_SIZE == CONFIG["text_cfg"]["vocab_size"]  # type: ignore[attr-defined]


def test_the_last_block_is_freed_with_the_pooling():
    backbone = ClipTiny()
    module = backbone.build(3, 64, Generator().manual_seed(0))
    names = backbone.last_block(module)
    assert names and all(name.startswith(("visual.layer4.0.", "visual.attnpool.")) for name in names)
    counts = tuning.counts(module, backbone)
    whole = sum(parameter.numel() for parameter in module.parameters())
    assert counts["full"] == whole and all(0 < (counts[scope] or 0) < whole for scope in ("norm", "last-block", "lora"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": "3"}, "backbone clip-tiny has no parameter 'width'; it has none"),
        ({"size": "32"}, "takes no images of 32×32 pixels"),
        ({"channels": "1"}, "it takes colour images"),
    ],
)
def test_what_cannot_be_is_one_line(settings: dict, message: str, dual: DualEncoder, tmp_path: Path):
    torch.save(dual.model.state_dict(), tmp_path / "clip.pt")
    with pytest.raises(UserError, match=message) as caught:
        load_backbone("clip-tiny", settings, tmp_path / "clip.pt")
    assert "\n" not in str(caught.value)


def test_without_weights_the_command_that_makes_some_is_named():
    with pytest.raises(UsageError, match="bench pretrain --dataset omniglot --backbone clip-tiny"):
        find_weights("clip-tiny", None, "omniglot")


def test_the_shipped_weights_are_small_and_tell_colours_by_name():
    path = find_weights("clip-tiny", None, "trifeature")
    assert path is not None and path.path.stat().st_size < 2_000_000
    backbone = load_backbone("clip-tiny", {}, path)
    assert backbone.pretraining.recipe == "clip" and not backbone.pretraining.external
    tower, split = backbone.text_tower(), Trifeature().split("val")
    colours = sorted({name.split()[0] for name in split.class_names})
    rows = torch.arange(0, len(split.images), 40)  # one image a class
    with torch.no_grad():
        image = backbone.module(backbone.preprocess(torch.from_numpy(split.images[rows.numpy()])))
        text = tower(tower.tokenize([f"a photo of a {colour}." for colour in colours]))
        nearest = (image @ torch.nn.functional.normalize(text, dim=1).T).argmax(dim=1)
    right = [colours[place] == name.split()[0] for place, name in zip(nearest.tolist(), split.class_names, strict=True)]
    assert sum(right) / len(right) > 0.8  # chance is 0.1
