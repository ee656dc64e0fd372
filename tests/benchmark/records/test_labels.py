"""Runs that differ never read the same, and a label says no more than it has to."""

from __future__ import annotations

import pytest

from fewbench.benchmark.records.identity import task_of
from fewbench.benchmark.records.labels import label_of, labels_of
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.records.task_words import task_title


def read(*records, **options):
    return list(map(str, labels_of(records, **options)))


def test_a_run_alone_shows_what_departs_from_the_defaults(make_record):
    assert str(label_of(make_record([0.5]))) == "protonet, conv4"
    record = make_record([0.5], method={"parameters": {"distance": "cosine", "steps": 5}, "changed": ["distance"]})
    assert str(label_of(record)) == "protonet (distance=cosine), conv4"


def test_a_default_is_shown_where_another_run_departs_from_it(make_record):
    one = make_record([0.5], method={"parameters": {"steps": 5}, "changed": []})
    two = make_record([0.5], method={"parameters": {"steps": 9}, "changed": ["steps"]})
    assert read(one, two) == ["protonet (steps=5), conv4", "protonet (steps=9), conv4"]
    other = make_record([0.5], name="ridge", method={"name": "ridge", "parameters": {"steps": 5}})
    assert read(one, two, other)[2] == "ridge, conv4"


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [
        ({"backbone": {"tune": "norm"}}, "protonet, conv4 (tune=none)", "protonet, conv4 (tune=norm)"),
        ({"task": {"shots": 5}}, "protonet, conv4; 1-shot", "protonet, conv4; 5-shot"),
        ({"task": {"ways": 20}}, "protonet, conv4; 5-way", "protonet, conv4; 20-way"),
        ({"task": {"seed": 3}}, "protonet, conv4; seed 0", "protonet, conv4; seed 3"),
        ({"task": {"dataset": "cub-200"}}, "protonet, conv4; omniglot", "protonet, conv4; cub-200"),
        ({"backbone": {"weights": "b", "weights_sha256": "b"}}, "protonet, conv4 (weights=", "protonet, conv4 (weights=b)"),
        (
            {"method": {"learned_sha256": "a" * 64}},
            "protonet (checkpoint=none), conv4",
            "protonet (checkpoint=aaaaaaaaaaaa), conv4",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_differs_is_named(make_record, changes, first, second):
    labels = read(make_record([0.5]), make_record([0.5], **changes))
    assert labels[0].startswith(first) and labels[1] == second


def test_what_is_told_elsewhere_is_left_out(make_record):
    records = [make_record([0.5]), make_record([0.5], task={"shots": 5})]
    assert read(*records, told=("shots",), beside=[1, 5]) == ["protonet, conv4", "protonet, conv4"]


def test_runs_that_nothing_else_tells_apart_have_their_records_hash(make_record):
    labels = read(make_record([0.5, 0.6]), make_record([0.6, 0.5], accuracy={"level": 0.9}))
    assert len(set(labels)) == 2


def test_a_title_says_the_task_in_words(make_record):
    def title(**task):
        return task_title(task_of(make_record([0.5], task=task)))

    assert title() == "5-way 1-shot, 15 queries, uniform sampler, test split, seed 0"
    corruption = {"name": "noise", "severity": 3, "version": 1, "clean_fingerprint": "0" * 64}
    assert title(corruption=corruption).endswith("test split, seed 0, corruption noise 3")
    assert title(queries=1, split="val", seed=7) == "5-way 1-shot, 1 query, uniform sampler, val split, seed 7"
    varying = {"ways": None, "shots": None, "queries": None, "sampler": "meta-dataset", "sampler_parameters": {"max_ways": 50}}
    assert title(**varying) == "meta-dataset sampler (max_ways=50), test split, seed 0"


def test_labels_show_the_parameters_that_were_changed(make_record, altered):
    method = {"parameters": {"distance": "cosine", "bias": True, "steps": 5}, "changed": ["distance", "bias"]}
    backbone = {"parameters": {"width": 32}, "changed": ["width"], "tune": "norm"}
    record = make_record([0.5], method=method, backbone=backbone)
    assert label_of(record).method == "protonet (bias=true, distance=cosine)"
    assert label_of(record).backbone == "conv4 (tune=norm, width=32)"
    record = altered(record, backbone={"precision": "bf16", "compile": True})
    assert label_of(record).backbone == "conv4 (compile=true, precision=bf16, tune=norm, width=32)"
    record = altered(record, backbone={"precision": "fp32", "compile": False, "tune": "none"})
    assert label_of(record).backbone == "conv4 (width=32)"
    assert (label_of(make_record([0.5])).method, label_of(make_record([0.5])).backbone) == ("protonet", "conv4")


def test_labels_show_prompts_and_names_that_are_not_usual(make_record, altered):
    record = make_record([0.5], method={"text": {"prompts": "single", "prompts_sha256": "0", "names_sha256": "1"}})
    assert label_of(record).method == "protonet"
    record = altered(
        record, method={"text": {**record.content["method"]["text"], "prompts": "ensemble", "class_names": "n.csv"}}
    )
    assert label_of(record).method == "protonet (class_names=n.csv, prompts=ensemble)"


def test_labels_show_all_parameters_where_the_defaults_are_unknown(make_record):
    content = {**make_record([0.5], method={"parameters": {"C": 0.5}}).content}
    content["method"] = {name: value for name, value in content["method"].items() if name != "changed"}
    assert label_of(RunRecord.of(content)).method == "protonet (C=0.5)"
