import random

import pytest

from fewbench.benchmark.records.labels import label_of
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.reporting.tables import tables_of


def shown(records):
    return [[(row.record.method.name, str(row.rank)) for row in table.rows] for table in tables_of(records)]


def test_rows_are_sorted_by_mean_and_ties_share_ranks(make_record):
    ties = [make_record([0.5, 0.75, 1.0], name=name) for name in "dbca"]
    records = [make_record([0.25, 0.5, 0.75], name="worst"), *ties]
    assert shown(records) == [[("a", "1–4"), ("b", "1–4"), ("c", "1–4"), ("d", "1–4"), ("worst", "5")]]


def test_the_order_of_the_records_changes_nothing(make_record):
    records = [make_record([0.1 * i, 0.5], name=f"m{i}", task={"seed": i % 3}) for i in range(9)]
    expected = tables_of(records)
    random.Random(0).shuffle(records)
    assert tables_of(records) == expected


def test_a_run_repeated_with_another_interval_has_one_row(make_record, altered):
    once = make_record([0.5, 0.6], name="a")
    again, other = altered(once, config_sha256="0" * 64), make_record([0.5, 0.7], name="a")
    assert shown([once, again]) == [[("a", "1")]]
    assert len(shown([once, again, other])[0]) == 2


@pytest.mark.parametrize(
    "task",
    [
        {"fingerprint": "0" * 64},
        {"seed": 1},
        {"sampler": "meta-dataset"},
        {"sampler_parameters": {"alpha": 1}},
        {"dataset_version": "2"},
        {"dataset_parameters": {"size": 84}},
        {"split": "val"},
        {"ways": 20},
        {"shots": None},
        {"queries": 5},
        {"corruption": {"name": "noise", "severity": 3, "version": 1, "clean_fingerprint": "0" * 64}},
    ],
)
def test_different_tasks_never_share_a_table(make_record, task):
    records = [make_record([0.5, 0.6], name="a"), make_record([0.5, 0.6], name="b", task=task)]
    tables = tables_of(records)
    assert sorted(len(table.rows) for table in tables) == [1, 1]
    assert len({(table.title, table.data) for table in tables}) == 2


def test_corrupted_images_have_a_section_after_all_others_of_their_dataset(make_record):
    def corruption(severity):
        return {"name": "noise", "severity": severity, "version": 1, "clean_fingerprint": "0" * 64}

    tasks = [
        {"corruption": corruption(2)},
        {"sampler": "semantic", "corruption": corruption(1)},
        {"sampler": "semantic"},
        {"corruption": corruption(1), "seed": 1},
        {"corruption": corruption(1)},
        {},
    ]
    tables = tables_of(make_record([0.5], task=task) for task in tasks)
    corrupted = "omniglot, corrupted images"
    sections = ["omniglot", "omniglot, semantic tasks", *3 * [corrupted], "omniglot, semantic tasks, corrupted images"]
    assert [table.section for table in tables] == sections
    assert [(table.key.seed, table.key.corruption) for table in tables[2:5]] == [(0, "noise 1"), (0, "noise 2"), (1, "noise 1")]


def test_partial_records_have_no_row(make_record):
    assert shown([make_record([0.5], status="partial"), make_record([0.5], name="a")]) == [[("a", "1")]]


def test_runs_of_other_lengths_share_a_table(make_record):
    longer = make_record([0.5, 0.6, 0.7], name="a", task={"episodes_sha256": "0" * 64})
    assert len(tables_of([longer, make_record([0.5, 0.6], name="b")])) == 1


def test_runs_that_drew_different_episodes_do_not_share_a_table(make_record):
    other = make_record([0.5, 0.6], name="b", task={"episodes_sha256": "0" * 64})
    tables = tables_of([make_record([0.5, 0.6], name="a"), other])
    assert [table.data.rpartition(", ")[2] for table in tables] == ["episodes 000000000000", "episodes a8ace1a76c21"]


def test_title_says_the_task_in_words(make_record):
    def title(**task):
        return tables_of([make_record([0.5], task=task)])[0].title

    assert title() == "5-way 1-shot, 15 queries, uniform sampler, test split, seed 0"
    corruption = {"name": "noise", "severity": 3, "version": 1, "clean_fingerprint": "0" * 64}
    assert title(corruption=corruption).endswith("test split, seed 0, corruption noise 3")
    assert title(queries=1, split="val", seed=7) == "5-way 1-shot, 1 query, uniform sampler, val split, seed 7"
    varying = {"ways": None, "shots": None, "queries": None, "sampler": "meta-dataset", "sampler_parameters": {"max_ways": 50}}
    assert title(**varying) == "meta-dataset sampler (max_ways=50), test split, seed 0"


def test_data_line_names_version_parameters_and_twelve_digits_of_the_fingerprint(make_record):
    table = tables_of([make_record([0.5], task={"fingerprint": "0123456789abcdef" * 4})])[0]
    assert table.data == "Dataset version 1 (size=28), fingerprint 0123456789ab"


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


def test_runs_with_other_prompts_are_no_repeats(make_record):
    records = [make_record([0.5, 0.6], method={"text": {"prompts": name, "names_sha256": "1"}}) for name in ("single", "other")]
    assert len(shown(records)[0]) == 2


def test_labels_show_all_parameters_where_the_defaults_are_unknown(make_record):
    content = {**make_record([0.5], method={"parameters": {"C": 0.5}}).content}
    content["method"] = {name: value for name, value in content["method"].items() if name != "changed"}
    assert label_of(RunRecord.of(content)).method == "protonet (C=0.5)"


def test_semantic_tasks_come_after_the_others_of_their_dataset(make_record, coarse):
    tasks = [coarse([1.0]), coarse([1.0], sampler="testbed"), {"sampler": "uniform"}, {"sampler": "meta-dataset"}]
    records = [make_record([0.5], task={**task, "dataset": name}) for task in tasks for name in ("omniglot", "cub-200")]
    assert [(table.section, table.key.sampler) for table in tables_of(records)] == [
        ("cub-200", "meta-dataset"),
        ("cub-200", "uniform"),
        ("cub-200, semantic tasks", "semantic"),
        ("cub-200, semantic tasks", "testbed"),
        ("omniglot", "meta-dataset"),
        ("omniglot", "uniform"),
        ("omniglot, semantic tasks", "semantic"),
        ("omniglot, semantic tasks", "testbed"),
    ]


def test_the_title_of_a_semantic_task_gives_the_mean_coarsity_of_its_longest_run(make_record, coarse):
    parameters = {"sampler_parameters": {"testbed_sha256": "0123456789abcdef" * 4}}
    shorter = make_record([0.5, 0.6], task=coarse([10.0, 20.0], **parameters))
    longer = make_record([0.3, 0.2, 0.1], name="b", task=coarse([10.0, 20.0, 30.5], episodes_sha256="0" * 64, **parameters))
    (table,) = tables_of([shorter, longer])
    assert table.title == (
        "5-way 1-shot, 15 queries, semantic sampler (testbed_sha256=0123456789ab), test split, seed 0, mean coarsity 20.17"
    )


def test_a_semantic_task_of_older_records_has_no_coarsity(make_record):
    (table,) = tables_of([make_record([0.5], task={"sampler": "testbed"})])
    assert table.semantic and "coarsity" not in table.title
    assert table.rows[0].quartiles == ()
