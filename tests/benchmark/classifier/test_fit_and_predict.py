"""`bench fit` and `bench predict`, as a user types them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from fewbench.benchmark.classifier.files import load
from fewbench.benchmark.commands.main import app
from fewbench.core.errors import UsageError, UserError

from .conftest import COLOURS, photo

CONV4 = ("--backbone", "conv4", "--weights", "conv4-trifeature")


def bench(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fit(photos: Path, output: Path, *more: object):
    return bench("fit", photos, "--output", output, *CONV4, *more)


@pytest.fixture
def model(photos: Path, tmp_path: Path) -> Path:
    done = fit(photos, tmp_path / "fruit")
    assert done.exit_code == 0, done
    assert done.stdout == f"{tmp_path / 'fruit'}\n"
    assert "24 photos of 3 classes; of 24 held-out photos 100.0% are right (95 % interval 73.5% to 100.0%)" in done.stderr
    return tmp_path / "fruit"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Ten new photos of each class, in one folder."""
    folder = tmp_path / "new"
    folder.mkdir()
    for name, colour in COLOURS.items():
        for seed in range(10):
            Image.fromarray(photo(colour, 5000 + seed)).save(folder / f"{name} {seed}.png")
    return folder


def test_new_photos_get_their_class(model: Path, new: Path):
    assert sorted(path.name for path in model.iterdir()) == ["backbone.safetensors", "model.json", "photos.safetensors"]
    done = bench("predict", model, new, "--csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == 30
    for row in rows:
        assert Path(row["file"]).name.startswith(row["label"])
        assert 1 >= float(row["probability"]) >= float(row["second_probability"]) >= float(row["third_probability"]) >= 0
        assert {row["label"], row["second"], row["third"]} == set(COLOURS)
    assert sum(row["unlike"] == "yes" for row in rows) <= 6


def test_json_and_text_say_the_same(model: Path, new: Path, tmp_path: Path):
    table = list(csv.DictReader(bench("predict", model, new, "--csv").stdout.splitlines()))
    lines = [json.loads(line) for line in bench("predict", model, new, "--json").stdout.splitlines()]
    assert [(line["file"], line["label"], str(line["probability"])) for line in lines] == [
        (row["file"], row["label"], row["probability"]) for row in table
    ]
    text = bench("predict", model, new).stdout.splitlines()
    assert all(line.startswith(f"{row['file']}: {row['label']} (") for line, row in zip(text, table, strict=True))
    done = bench("predict", model, new, "--output", tmp_path / "out.csv")
    assert done.stdout == f"{tmp_path / 'out.csv'}\n"
    assert list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8"))) == table


def test_a_photo_of_something_else_is_marked(model: Path, tmp_path: Path):
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8)[:, None, None], (1, 40, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert "unlike all classes" in bench("predict", model, tmp_path / "ramp.png").stdout


def test_a_batch_changes_no_answer(model: Path):
    """One photo at a time and all at once agree: no answer depends on another photo."""
    loaded = load(model)
    images = np.stack([photo(colour, 9)[:, :40] for colour in COLOURS.values()])
    whole = loaded.answers(images)
    alone = np.concatenate([loaded.answers(image[None]).probabilities for image in images])
    np.testing.assert_allclose(whole.probabilities, alone, rtol=1e-4)


def test_a_choice_of_parameters_is_said(photos: Path, tmp_path: Path):
    done = fit(photos, tmp_path / "fruit", "--method", "linear-probe", "--set", "C=auto")
    assert done.exit_code == 0, done
    assert "linear-probe: C=" in done.stderr and "chosen on 24 held-out photos" in done.stderr


@pytest.mark.parametrize(
    ("method", "need"),
    [
        ("maml", "the images of the support"),
        ("finetune", "to train on the support"),
        ("simpleshot", "the mean feature of train classes"),
        ("clip-zero-shot", "texts"),
        ("chance", "no photos"),
    ],
)
def test_a_method_that_cannot_be_fitted_says_what_it_needs(method: str, need: str, photos: Path, tmp_path: Path):
    done = fit(photos, tmp_path / "fruit", "--method", method)
    assert isinstance(done.exception, UsageError) and need in str(done.exception)
    assert not (tmp_path / "fruit").exists()


def test_nothing_but_a_classifier_is_replaced(photos: Path, model: Path, tmp_path: Path):
    assert "--overwrite" in str(fit(photos, model).exception)
    assert fit(photos, model, "--overwrite", "--method", "protonet").exit_code == 0
    assert load(model).method_name == "protonet"
    (tmp_path / "mine").mkdir()
    done = fit(photos, tmp_path / "mine", "--overwrite")
    assert isinstance(done.exception, UsageError) and "something else" in str(done.exception)
    assert not list(tmp_path.glob(".fewbench*"))


def test_photos_that_cannot_be_read_are_named_and_the_others_answered(model: Path, new: Path):
    (new / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    done = bench("predict", model, new, "--csv")
    assert isinstance(done.exception, UserError) and "1 of 31 photos could not be read" in str(done.exception)
    assert "not read: " in done.stderr and "broken.jpg" in done.stderr
    assert len(list(csv.DictReader(done.stdout.splitlines()))) == 30


@pytest.mark.parametrize(
    ("image", "told"),
    [("https://example.org/a.jpg", "a web address"), ("absent.jpg", "no such file"), ("empty", "holds no photos")],
)
def test_what_is_no_photo_is_one_line(model: Path, tmp_path: Path, monkeypatch, image: str, told: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert told in str(bench("predict", model, image).exception)


def test_a_changed_model_is_refused(model: Path, new: Path):
    about = json.loads((model / "model.json").read_text(encoding="utf-8"))

    def told(**changed: object) -> str:
        (model / "model.json").write_text(json.dumps({**about, **changed}), encoding="utf-8")
        error = bench("predict", model, new).exception
        assert isinstance(error, UserError), error
        return str(error)

    assert "version 1, this fewbench reads 2" in told(version=1)
    assert "square.size" in told(square={**about["square"], "size": "84"})
    assert "cannot be" in told(square={**about["square"], "share": 2.0})
    assert "cannot be" in told(calibration={**about["calibration"], "temperature": 0.0})
    assert "fit it again" in told(method_version="0")
    (model / "model.json").write_text("[" * 100_000, encoding="utf-8")
    assert "damaged" in str(bench("predict", model, new).exception)
    (model / "model.json").write_text(json.dumps(about), encoding="utf-8")
    tensors = load_file(model / "photos.safetensors")
    save_file({**tensors, "features": tensors["features"] * 2}, model / "photos.safetensors")
    assert "photos.safetensors is not the file" in str(bench("predict", model, new).exception)
    (model / "backbone.safetensors").unlink()
    assert "backbone.safetensors" in str(bench("predict", model, new).exception)
    assert "no such folder" in str(bench("predict", model / "absent", new).exception)
    assert "no classifier" in str(bench("predict", new, new).exception)


def test_one_class_is_no_classifier(tmp_path: Path):
    (tmp_path / "one" / "a").mkdir(parents=True)
    Image.fromarray(photo((1, 2, 3), 0)).save(tmp_path / "one" / "a" / "x.png")
    assert isinstance(fit(tmp_path / "one", tmp_path / "out").exception, UserError)


def test_learned_modules_travel_with_the_model(photos: Path, tmp_path: Path):
    """A method with a learned module answers the same after it was written and read."""
    from fewbench.benchmark.classifier.classifier import Classifier
    from fewbench.benchmark.classifier.files import save
    from fewbench.benchmark.classifier.fitting import Parts, fit_images, parts_of
    from fewbench.benchmark.config import RunConfig
    from fewbench.methods.metric.feat import Feat
    from fewbench.tasks.datasets.reading.image_files import Square

    parts = parts_of(RunConfig(backbone="conv4", weights="conv4-trifeature"), None, 3)
    module = Feat().learned_part(parts.backbone.module, parts.backbone.feature_dim, 3, torch.Generator().manual_seed(1))
    assert module is not None
    images = np.stack([photo(colour, seed)[:, :40] for colour in COLOURS.values() for seed in range(4)])
    fitted = Parts(Feat(), "feat", parts.backbone, module.eval(), parts.device)
    made: Classifier = fit_images(fitted, images, np.repeat(np.arange(3), 4), list(COLOURS), Square(40))
    save(made, tmp_path / "feat")
    again = load(tmp_path / "feat")
    np.testing.assert_allclose(made.answers(images).probabilities, again.answers(images).probabilities, rtol=1e-5)
