import json
from pathlib import Path

import pytest

from fewbench.benchmark.records import schema as record_schema
from fewbench.benchmark.records.schema import migrate, problem

FROZEN = Path(__file__).parents[1] / "data" / "record-schema-1.json"


@pytest.fixture
def content():
    return json.loads(FROZEN.read_text(encoding="utf-8"))


def test_the_frozen_record_has_no_problem(content):
    assert problem(content) is None


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("task", "seed", "0", "task.seed is not a whole number"),
        ("task", "seed", True, "task.seed is not a whole number"),
        ("task", "ways", 2.5, "task.ways is not a whole number"),
        ("task", "ways", None, None),
        ("method", "transductive", 0, "method.transductive is not true or false"),
        ("method", "name", None, "method.name is not text"),
        ("method", "anything", 1, None),
        ("accuracy", "mean", "0.5", "accuracy.mean is not a number"),
        ("accuracy", "mean", 1, None),
        ("backbone", "pretraining", None, None),
        ("backbone", "pretraining", [], "backbone.pretraining is not a section"),
        ("backbone", "pretraining", {"dataset": "omniglot"}, "backbone.pretraining.recipe is missing"),
        ("backbone", "network_parameters", "many", "backbone.network_parameters is not a whole number"),
        ("backbone", "network_parameters", 112_832, None),
        ("timing", "encoding", None, None),
        ("timing", "encoding", {}, "timing.encoding.images is missing"),
    ],
)
def test_the_first_misfit_is_named(content, section, key, value, expected):
    content[section][key] = value
    assert problem(content) == expected


def test_what_came_later_may_be_absent_whole_but_not_in_part(content):
    encoding = {"images": 12000, "seconds": 30.5, "device": "cuda", "device_name": "NVIDIA H100", "precision": "bf16"}
    assert "encoding" not in content["timing"] and "network_parameters" not in content["backbone"]
    content["timing"]["encoding"] = encoding
    assert problem(content) is None
    content["timing"]["encoding"] = {name: value for name, value in encoding.items() if name != "precision"}
    assert problem(content) == "timing.encoding.precision is missing"


def test_a_missing_key_is_named(content):
    del content["timing"]["total_seconds"]
    assert problem(content) == "timing.total_seconds is missing"


def test_old_versions_pass_through_every_migration_in_turn(monkeypatch):
    monkeypatch.setattr(record_schema, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(
        record_schema, "MIGRATIONS", {1: lambda old: {**old, "b": old["a"] + 1}, 2: lambda old: {**old, "c": old["b"] * 10}}
    )
    assert migrate({"schema_version": 1, "a": 1}) == {"schema_version": 3, "a": 1, "b": 2, "c": 20}
    assert migrate({"schema_version": 3, "a": 1}) == {"schema_version": 3, "a": 1}


@pytest.mark.parametrize("version", [0, -1, None, "1", True, 1.0])
def test_what_is_no_schema_version_is_refused(version):
    with pytest.raises(ValueError, match="schema_version is"):
        migrate({"schema_version": version})


def test_every_older_version_has_a_migration():
    assert sorted(record_schema.MIGRATIONS) == list(range(1, record_schema.SCHEMA_VERSION))
