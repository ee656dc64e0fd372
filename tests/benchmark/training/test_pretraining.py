import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, read_description, weights_sha256, write_checkpoint
from fewbench.benchmark.backbones.weights.description import MadeBy
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.training import pretraining
from fewbench.benchmark.training.meta.validation import Validation
from fewbench.benchmark.training.options import Effort
from fewbench.benchmark.training.pretrain_config import PretrainConfig
from fewbench.benchmark.training.pretraining import pretrain
from fewbench.benchmark.training.recipes import RECIPES, find_recipe
from fewbench.benchmark.training.recipes.teacher import RecipeWithTeacher
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT

SMALL = {"backbone.width": 8}
MAIN = "from fewbench.benchmark.commands.main import main; main()"


@pytest.fixture
def quick(tiny: str) -> PretrainConfig:
    return PretrainConfig(dataset=tiny, epochs=1, batch_size=60, crop=1, device="cpu", settings=SMALL)


def about(path: Path) -> dict:
    description = read_description(path)
    assert description is not None
    return json.loads(description.to_json())


IMAGES_ALONE = [name for name in RECIPES if name != "clip"]  # recipes/test_clip.py has that one
NEEDED = {  # of the network and the recipe
    "masked": {"backbone.width": 16, "backbone.depth": 1, "backbone.heads": 2},
    "simclr-v2": {**SMALL, "recipe.hidden": 24},
}


def with_recipe(quick: PretrainConfig, recipe: str, teacher: Path) -> PretrainConfig:
    """The quick pretraining with another recipe, and with what that one needs."""
    settings = NEEDED.get(recipe, SMALL)
    if issubclass(find_recipe(recipe), RecipeWithTeacher):
        settings = {**settings, "recipe.teacher": str(teacher)}
    return replace(quick, recipe=recipe, crop=None, backbone="vit" if recipe == "masked" else "conv4", settings=settings)


@pytest.mark.parametrize("recipe", IMAGES_ALONE)
def test_every_recipe_says_how_its_weights_were_made(
    recipe: str, quick: PretrainConfig, tiny_weights: Path, tmp_path: Path
) -> None:
    config = replace(with_recipe(quick, recipe, tiny_weights), epochs=2)
    path = pretrain(config, tmp_path / "weights.safetensors", SILENT)
    sidecar = about(path)
    assert sidecar["pretraining"]["recipe"] == recipe
    assert sidecar["pretraining"]["classes"] == 12
    assert (sidecar["pretraining"]["epochs"], sidecar["pretraining"]["images"]) == (2, 720)
    assert sidecar["val_accuracy"]["step"] in (6, 12)
    assert sidecar["val_accuracy"]["mean"] > 0.5  # chance is 0.2
    loaded = load_backbone(config.backbone, {}, path)
    assert loaded.feature_dim == {"masked": 16, "simclr-v2": 24}.get(recipe, 8)
    assert loaded.pretraining.recipe == recipe and not loaded.pretraining.external
    taught = "recipe.teacher" in config.settings
    assert (loaded.pretraining.started_from is not None) == taught
    assert not taught or sidecar["pretraining"]["started_from"]["weights_sha256"] == weights_sha256(tiny_weights)
    assert pretrain(config, path, SILENT) == path  # finished
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".csv", ".png", ".safetensors"]


def test_no_epochs_keep_the_initial_weights(quick: PretrainConfig, tmp_path: Path) -> None:
    path = pretrain(replace(quick, epochs=0), tmp_path / "none.safetensors", SILENT)
    sidecar = about(path)
    assert sidecar["pretraining"]["recipe"] == "none" and sidecar["pretraining"]["images"] == 0
    assert sidecar["val_accuracy"]["step"] == 0 and 0 < sidecar["val_accuracy"]["mean"] < 1
    plan = pretraining.plan_of(replace(quick, epochs=0), SILENT)
    loaded = load_backbone("conv4", {}, path).module.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in plan.module.state_dict().items())
    before = path.stat().st_mtime_ns
    pretrain(replace(quick, epochs=0), path, SILENT)
    assert path.stat().st_mtime_ns == before


def test_the_rate_rises_through_the_warmup_and_long_gradients_are_cut(quick: PretrainConfig) -> None:
    options = pretraining.plan_of(replace(quick, epochs=4, warmup_epochs=1.5, clip_norm=2.0), SILENT).loop
    assert (options.steps, options.warmup_steps, options.clip_norm) == (24, 9, 2.0)
    with pytest.raises(UsageError, match="--warmup-epochs -1: at least 0"):
        replace(quick, warmup_epochs=-1.0)


def test_options_that_came_later_change_an_identity_only_where_they_are_used(quick: PretrainConfig) -> None:
    usual, other = (pretraining.plan_of(replace(quick, clip_norm=norm), SILENT).identity().config for norm in (None, 2.0))
    assert other == {**usual, "clip_norm": 2.0} and not set(PretrainConfig.later) & set(usual)


@pytest.mark.parametrize("options", [{}, {"optimizer": "locoprop", "learning_rate": 0.1}])
def test_the_same_seed_gives_the_same_weights(options: dict, quick: PretrainConfig, tmp_path: Path) -> None:
    first, second, other = (
        weights_sha256(pretrain(replace(quick, seed=seed, **options), tmp_path / f"{name}.safetensors", SILENT))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("recipe", IMAGES_ALONE)
def test_what_was_stopped_and_killed_ends_in_the_weights_of_an_undisturbed_pretraining(
    recipe: str, quick: PretrainConfig, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_recipe(quick, recipe, tiny_weights)
    undisturbed = weights_sha256(pretrain(config, tmp_path / "whole.safetensors", SILENT))
    output = tmp_path / "parts.safetensors"
    with pytest.raises(UserError, match=r"stopped by --time-limit after 1 of 6 steps; the same command goes on"):
        pretrain(config, output, SILENT, Effort(time_limit=1e-9))
    assert not output.exists()

    def killed(*arguments: object) -> float:
        raise SystemError  # like a kill, it leaves no time to save

    with monkeypatch.context() as patched, pytest.raises(SystemError):
        patched.setattr(Validation, "accuracy", killed)
        pretrain(config, output, SILENT)
    assert weights_sha256(pretrain(config, output, SILENT)) == undisturbed
    assert not output.with_name("parts.training").exists()


def test_the_recorded_command_finds_itself_finished(quick: PretrainConfig, tmp_path: Path, capsys) -> None:
    config = replace(quick, recipe="simclr", crop=None, settings={**SMALL, "recipe.temperature": 0.2})
    path = pretrain(config, tmp_path / "weights.safetensors", SILENT)
    words = shlex.split(about(path)["made_by"]["command"])
    assert words[:2] == ["bench", "pretrain"] and "recipe.temperature=0.2" in words and "recipe.hidden=512" in words
    before = path.stat().st_mtime_ns
    app([*words[1:], "--output", str(path)], standalone_mode=False)
    assert "nothing was trained; --overwrite repeats it" in capsys.readouterr().err
    assert path.stat().st_mtime_ns == before


def test_other_weights_are_replaced_only_when_asked(quick: PretrainConfig, tmp_path: Path) -> None:
    path = pretrain(quick, tmp_path / "weights.safetensors", SILENT)
    other = replace(quick, learning_rate=0.01)
    with pytest.raises(UsageError, match=r"of another training \(learning_rate 0.002, not 0.01\); take another --output"):
        pretrain(other, path, SILENT)
    pretrain(other, path, SILENT, Effort(overwrite=True))
    assert about(path)["made_by"]["config"]["learning_rate"] == 0.01
    checkpoint = read_checkpoint(path)
    assert checkpoint.description is not None
    write_checkpoint(path, checkpoint.tensors, replace(checkpoint.description, made_by=MadeBy()))
    with pytest.raises(UsageError, match="not by this version of bench pretrain"):
        pretrain(other, path, SILENT)


def test_what_is_left_open_is_decided_and_recorded(quick: PretrainConfig, tmp_path: Path) -> None:
    config = replace(quick, recipe="barlow-twins", crop=None, size=24)
    sidecar = about(pretrain(config, tmp_path / "weights.safetensors", SILENT))
    made = sidecar["made_by"]["config"]
    assert (made["crop"], made["flip"], made["size"], made["precision"]) == (0, True, 24, "fp32")
    assert made["learning_rate"] > 0 and made["settings"]["recipe.width"] == 512 and made["settings"]["dataset.noise"] == 60
    assert sidecar["preprocess"]["size"] == 24


def test_a_network_that_refuses_small_images_gets_those_it_was_made_for(quick: PretrainConfig, tmp_path: Path) -> None:
    settings = {"backbone.embed_dim": "24", "backbone.depth": "1", "backbone.num_heads": "2", "backbone.img_size": "32"}
    vit = replace(quick, backbone="timm:vit_tiny_patch16_224", settings=settings)
    path = pretrain(vit, tmp_path / "weights.safetensors", SILENT)
    assert about(path)["preprocess"]["size"] == 32  # stored are 16
    with pytest.raises(UsageError, match="--size 20: the backbone takes no images of 20×20 pixels"):
        pretrain(replace(vit, size=20), tmp_path / "other.safetensors", SILENT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recipe": "superwised"}, "unknown recipe 'superwised'; did you mean 'supervised'"),
        ({"epochs": -1}, "--epochs -1: at least 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"weight_decay": float("inf")}, "--weight-decay inf"),
        ({"learning_rate": 0.0}, "--learning-rate 0: above 0"),
        ({"precision": "fp8"}, "--precision fp8: not fp32, bf16"),
        ({"patience": 0}, "--patience 0"),
        ({"seed": -1}, "--seed -1"),
        ({"optimizer": "sgd"}, "--optimizer sgd: give --learning-rate too"),
        ({"recipe": "simclr", "crop": 2}, "--crop: recipe simclr draws views of its own"),
        ({"settings": {"temperature": 1}}, "--set temperature: say whose it is: .*recipe.temperature"),
        ({"norm": "group", "settings": {"backbone.norm": "batch"}}, "--norm and --set backbone.norm are the same"),
        ({"activation": "gelu", "settings": {"backbone.activation": "gelu"}}, "--activation and --set backbone.activation are"),
        ({"activation": "gelu", "backbone": "timm:resnet18"}, "--activation is for conv4, .*; for timm models .*act_layer"),
        ({"norm": "group", "backbone": "timm:resnet18"}, "--norm is for conv4, .*; for timm models set backbone.norm_layer"),
    ],
)
def test_what_cannot_be_trained_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PretrainConfig(dataset="trifeature", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 1}, "--batch-size 1: at least 2 images"),
        ({"batch_size": 361}, "--batch-size 361: the train classes have 360 images"),
        ({"settings": {"recipe.temperature": 1}}, "recipe supervised has no parameter 'temperature'"),
        ({"settings": {"dataset.loudness": 1}}, "no parameter 'loudness'"),
        ({"learning_rate": 1e30}, "no longer finite"),
        ({"optimizer": "locoprops", "learning_rate": 0.1}, "unknown optimizer 'locoprops'; did you mean 'locoprop'"),
        ({"optimizer": "locoprop", "learning_rate": 1e30}, "no longer finite"),
        (
            {"optimizer": "locoprop", "learning_rate": 0.1, "norm": "group"},
            "GroupNorm backbone.0.1 cannot be trained with it, which takes networks of Linear",
        ),
    ],
)
def test_what_the_images_do_not_allow_is_refused(options: dict, said: str, quick: PretrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        pretrain(replace(quick, **options), tmp_path / "weights.safetensors", SILENT)
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recipe", "dinno"], "unknown recipe 'dinno'; did you mean 'dino'?"),
        (["--time-limit", "0"], "--time-limit 0: above 0"),
        (["--learning-rate", "0"], "--learning-rate 0: above 0"),
    ],
)
def test_the_command_refuses_its_options_before_torch_is_imported(options: list[str], said: str) -> None:
    script = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); " + MAIN
    words = [sys.executable, "-c", script, "pretrain", "--dataset", "trifeature", *options]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "False\n", f"error: {said}\n")


def test_val_classes_that_are_too_small_are_found_out_before_training(
    quick: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pretraining.VALIDATION, "queries", 30)
    with pytest.raises(UsageError, match=r"^the val classes need 31 images each; the smallest has 30$"):
        pretrain(quick, tmp_path / "weights.safetensors", SILENT)
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(sys.platform == "win32", reason="gloo under torchrun needs more than Windows has")
def test_two_processes_pretrain_together(tiny: str, tmp_path: Path) -> None:
    """SimCLR, whose processes compare each other's views."""
    output = tmp_path / "weights.safetensors"
    options = ["--dataset", tiny, "--recipe", "simclr", "--epochs", "1", "--batch-size", "60", "--device", "cpu"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    bench = [sys.executable, "-c", MAIN, "pretrain", *options]
    done = subprocess.run(
        [*torchrun, *bench, "--set", "backbone.width=8", "--output", str(output)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert done.stdout.splitlines() == [str(output)]  # one process talks
    assert about(output)["made_by"]["processes"] == 2
    assert about(output)["pretraining"]["images"] == 360
