import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation.plan import make_plan
from fewbench.benchmark.features.imported import Texts, store
from fewbench.benchmark.features.imported_backbone import LoadedImport
from fewbench.benchmark.text.prompts import PromptSet
from fewbench.core.decoding import encode
from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.datasets.base import Dataset

CPU = torch.device("cpu")
MADE_BY = {"name": "clip", "pretraining": {"dataset": "LAION", "recipe": "clip", "external": True}}
TEXT = (Texts(("a {}.",), ("cat", "dog")), np.eye(2, 3, dtype=np.float32))


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def imported(tiny: str, dataset, tmp_path: Path) -> RunConfig:
    """A run on imported features of the test split."""
    put(dataset, "test")
    return RunConfig(dataset=tiny, backbone="imported:mine", queries=5, device="cpu", results=tmp_path / "results")


def put(dataset: Dataset, name: str, made_by=MADE_BY, texts=(TEXT,), fingerprint: str | None = None) -> None:
    split = dataset.split(name)
    features = np.random.default_rng(0).normal(size=(len(split.images), 3)).astype(np.float16)
    store("mine", dataset, name, fingerprint or split.fingerprint, features, texts, made_by, overwrite=True)


def backbone_of(config: RunConfig) -> LoadedImport:
    backbone = make_plan(config).backbone
    assert isinstance(backbone, LoadedImport)
    return backbone


def test_the_record_says_what_is_known(imported):
    section = encode(make_plan(imported).backbone_section())
    assert section["name"] == "imported:mine" and section["weights"] == "mine" and section["feature_dim"] == 3
    assert section["weights_sha256"] == backbone_of(imported).splits["test"].about.sha256
    assert section["pretraining"] == MADE_BY["pretraining"] and section["imported"] == MADE_BY
    assert "network_parameters" not in section  # nobody knows
    json.dumps(section)


def test_what_nobody_described_is_unknown_and_external(imported, dataset):
    put(dataset, "test", made_by={})
    section = encode(make_plan(imported).backbone_section())
    assert section["pretraining"] == {"dataset": "unknown", "recipe": "unknown", "external": True}


def test_the_record_is_of_the_features_of_every_split_that_is_read(imported, dataset):
    plain = make_plan(imported)
    centred = replace(imported, method="simpleshot")
    with pytest.raises(
        UsageError, match="no features of tiny train were imported, and simpleshot needs their mean; bench features"
    ):
        make_plan(centred)
    put(dataset, "train")
    hashes = {make_plan(imported).backbone.weights_sha256, make_plan(centred).backbone.weights_sha256}
    assert len(hashes) == 2 and plain.backbone.weights_sha256 in hashes
    assert make_plan(imported).path() == plain.path()  # which does not read the train split


REFUSED = {
    "images": (dict(method="maml"), "maml works on images here; take a method on features"),
    "tune": (dict(method="finetune", tune="norm"), "so --tune norm has nothing to move; take --tune head"),
    "weights": (dict(weights="conv4-trifeature"), "--weights conv4-trifeature: --backbone imported:mine is features without"),
    "checkpoint": (dict(checkpoint="a.safetensors"), "--checkpoint a.safetensors and --backbone imported:mine: take one"),
    "batch size": (dict(batch_size=4), "--batch-size: with --backbone imported:mine nothing is encoded"),
    "precision": (dict(precision="bf16"), "--precision: with --backbone imported:mine nothing is encoded"),
    "compile": (dict(compile=True), "--compile: with --backbone imported:mine nothing is encoded"),
    "corruption": (dict(corruption="noise", severity=1), "--corruption noise: .* features of clean images"),
    "parameter": (dict(settings={"backbone.width": 3}), "backbone imported:mine has no parameter 'width'"),
    "name": (dict(backbone="imported:../mine"), r"'\.\./mine' cannot name imported features"),
    "absent": (dict(backbone="imported:mime"), "imported:mime: nothing was imported under that name; did you mean 'mine'"),
    "split": (dict(split="val"), "no features of tiny val were imported; bench features import"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_features_cannot_do_is_one_line(case: str, imported):
    options, message = REFUSED[case]
    with pytest.raises(UsageError, match=message) as caught:
        make_plan(replace(imported, **options))
    assert "\n" not in str(caught.value)


def test_the_name_that_a_record_has_as_weights_is_taken(imported):
    assert make_plan(replace(imported, weights="mine")).path() == make_plan(imported).path()


def test_a_head_is_tuned_on_features(imported):
    assert make_plan(replace(imported, method="finetune")).inputs == "features"


def test_features_of_other_images_are_refused(imported, dataset):
    put(dataset, "test", fingerprint="0" * 64)
    backbone = backbone_of(imported)
    with pytest.raises(UserError, match=r"imported features of test are not of this tiny \(fingerprint 000000000000…, not"):
        backbone.precomputed(dataset.split("test"))


def test_there_is_no_network_to_be_called(imported):
    backbone = backbone_of(imported)
    with pytest.raises(UserError, match="backbone imported:mine: features without a network"):
        backbone.module(torch.zeros(1, 3, 16, 16))
    with pytest.raises(UserError, match="imported:mine has no text tower"):
        backbone.text_tower()


class TestTexts:
    PROMPTS = PromptSet("single", ("a {}.",))

    def test_names_are_looked_up_one_by_one(self, imported):
        found = backbone_of(imported).precomputed_texts(self.PROMPTS, ["dog", "cat", "dog"])
        assert found.dtype == np.float32 and found.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]

    def test_other_prompts(self, imported):
        with pytest.raises(UserError, match=r"no text features of the prompts 'others', only of \"a \{\}\.\"; export them"):
            backbone_of(imported).precomputed_texts(PromptSet("others", ("a {}.", "b {}.")), ["cat"])

    def test_other_names(self, imported):
        with pytest.raises(UserError, match=r"no text features of 2 class names \(bird, cow\); export them"):
            backbone_of(imported).precomputed_texts(self.PROMPTS, ["cat", "bird", "cow", "bird"])

    def test_none_at_all(self, imported, dataset):
        put(dataset, "test", texts=())
        with pytest.raises(UserError, match="only of none at all"):
            backbone_of(imported).precomputed_texts(self.PROMPTS, ["cat"])
