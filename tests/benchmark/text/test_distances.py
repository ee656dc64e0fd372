import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from fewbench.benchmark.evaluation.split_classes import class_distances, classes_of
from fewbench.benchmark.text import distances as module
from fewbench.benchmark.text.distances import text_distances
from fewbench.core.errors import UsageError, UserError

NAMES = ["red striped triangle", "red dotted triangle", "aircraft carrier", "house finch"]
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny CLIP model with random weights, as `ARCH/FILE`."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "fewbench-tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "fewbench-tiny.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = open_clip.create_model("fewbench-tiny")
    torch.save(network.state_dict(), folder / "weights.pt")
    return f"fewbench-tiny/{folder / 'weights.pt'}"


def test_distances_are_one_minus_the_cosine_over_its_mean(model: str):
    found = text_distances(model, NAMES)
    network: Any = open_clip.create_model("fewbench-tiny", pretrained=model.partition("/")[2]).eval()
    tokens = open_clip.get_tokenizer("fewbench-tiny")([f"a photo of a {name}." for name in NAMES])
    with torch.no_grad():
        features = network.encode_text(tokens).double().numpy()
    expected = np.zeros((4, 4))
    for a in range(4):
        for b in range(4):
            norms = np.sqrt((features[a] ** 2).sum() * (features[b] ** 2).sum())
            expected[a, b] = 0 if a == b else 1 - (features[a] * features[b]).sum() / norms
    np.testing.assert_allclose(found, expected / expected[~np.eye(4, dtype=bool)].mean(), atol=1e-6)
    assert (found == found.T).all() and (np.diag(found) == 0).all()


def test_the_global_generator_is_left_alone(model: str):
    before = torch.random.get_rng_state()
    text_distances(model, NAMES)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_datasets_class_names_are_read(model: str):
    chosen = classes_of("mini-imagenet", [], "test", with_images=False)
    matrix = class_distances(chosen.dataset, "test", chosen.class_ids, chosen.counts, f"open_clip:{model}")
    assert matrix.shape == (20, 20)
    assert matrix.sum() / (20 * 19) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("ViT-B-33/openai", UsageError, "did you mean 'ViT-B-32'"),
        ("ViT-B-32/opnai", UsageError, "did you mean 'openai'"),
        ("ViT-B-16-SigLIP", UsageError, "has no weights '' of ViT-B-16-SigLIP; known: webli"),
    ],
)
def test_an_unknown_model_gets_the_nearest(name: str, error: type, says: str):
    with pytest.raises(error, match=says):
        text_distances(name, NAMES)


def test_a_file_of_something_else_is_one_line(tmp_path: Path, model: str):
    (tmp_path / "other.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"^--weights other\.pt is no weights file") as caught:
        text_distances(f"fewbench-tiny/{tmp_path / 'other.pt'}", NAMES)
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_says_how_to_name_a_file(monkeypatch: pytest.MonkeyPatch):
    def unreachable(repository, revision, filenames, owner, cure):
        raise UserError(f"{owner}: {repository}; {cure}")

    monkeypatch.setattr("fewbench.benchmark.backbones.clip.open_clip_models.fetch", unreachable)
    with pytest.raises(UserError, match=r"name a file: open_clip:ViT-B-32/FILE"):
        text_distances("ViT-B-32/openai", NAMES)


def test_names_that_all_read_alike_are_refused():
    with pytest.raises(UserError, match="reads all class names alike"):
        module._distances(np.ones((3, 4)) / 2)
