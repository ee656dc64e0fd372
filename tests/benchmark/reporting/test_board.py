import random

import numpy as np
import pytest

WAVE = np.resize([0.1, -0.1], 30)


def shown(board):
    """The rows of a board: method, and rank in each column."""
    return [(row.method, *(None if cell is None else str(cell.rank) for cell in row.cells)) for row in board.rows]


def test_a_row_has_a_cell_for_each_task_and_the_best_is_on_top(make_record, boards):
    records = [
        make_record([0.25, 0.5, 0.75], name="worst"),
        make_record([0.5, 0.75, 1.0], name="best"),
        make_record([0.5, 0.5, 0.5], name="best", task={"shots": 5}),
        make_record([0.6, 0.6, 0.6], name="other", task={"shots": 5}),
    ]
    (board,) = boards(records)
    assert (board.title, board.headers) == ("omniglot", ("5-way 1-shot", "5-way 5-shot"))
    assert shown(board) == [("best", "1", "2"), ("worst", "2", None), ("other", None, "1")]
    assert [str(row.cells[0].path) for row in board.rows[:2] if row.cells[0]] == ["1.json", "0.json"]


def test_ties_share_a_range_of_ranks(make_record, boards):
    ties = [make_record([0.5, 0.75, 1.0], name=name) for name in "dbca"]
    (board,) = boards([make_record([0.25, 0.5, 0.75], name="worst"), *ties])
    assert {rank for _, rank in shown(board)[:4]} == {"1–4"} and shown(board)[4] == ("worst", "5")


def test_the_best_of_a_group_and_all_that_are_not_significantly_worse_are_marked(make_record, boards):
    resnet = {"name": "resnet12"}
    records = [
        make_record(0.6 + WAVE, name="best"),
        make_record(np.full(30, 0.599), name="level"),
        make_record(np.full(30, 0.3), name="worse"),
        make_record(np.full(30, 0.2), name="first-of-its-group", backbone=resnet),
    ]
    (board,) = boards(records)
    marked = {row.method: row.cells[0].best for row in board.rows if row.cells[0]}
    assert marked == {"best": True, "level": True, "worse": False, "first-of-its-group": True}
    (board,) = boards(records, "none")
    assert [row.method for row in board.rows if row.cells[0] and row.cells[0].best] == ["best", "level"]


def test_the_order_of_the_records_changes_nothing(make_record, boards):
    records = [make_record([0.1 * i, 0.5], name=f"m{i}", task={"seed": i % 3}) for i in range(9)]
    (expected,) = boards(records)
    random.Random(0).shuffle(records)
    assert shown(boards(records)[0]) == shown(expected)


def test_of_repeated_runs_the_longest_has_the_cell(make_record, boards, altered):
    short = make_record([0.5, 0.6], name="a")
    longer = make_record([0.5, 0.6, 0.7], name="a", task={"episodes_sha256": "0" * 64})
    (board,) = boards([short, altered(short, config_sha256="0" * 64), longer])
    (row,) = board.rows
    assert [cell.record for cell in row.cells if cell] == [longer]


@pytest.mark.parametrize(
    ("task", "header"),
    [
        ({"seed": 1}, "5-way 1-shot, seed 1"),
        ({"sampler": "meta-dataset", "ways": None, "shots": None}, "varying ways, varying shots, meta-dataset sampler"),
        ({"ways": 20}, "20-way 1-shot"),
        ({"queries": 1}, "5-way 1-shot, 1 query"),
    ],
)
def test_other_tasks_have_columns_of_their_own(make_record, boards, task, header):
    (board,) = boards([make_record([0.5, 0.6], name="a"), make_record([0.5, 0.6], name="b", task=task)])
    assert board.headers == ("5-way 1-shot", header)
    assert shown(board) == [("a", "1", None), ("b", None, "1")]


def test_samplers_that_differ_in_parameters_are_told_apart(make_record, boards):
    tasks = [{"sampler": "imbalanced", "sampler_parameters": {"ratio": ratio}} for ratio in (2, 3)]
    (board,) = boards([make_record([0.5], task=task) for task in tasks])
    assert board.headers == ("5-way 1-shot, imbalanced sampler (ratio=2)", "5-way 1-shot, imbalanced sampler (ratio=3)")
    (board,) = boards([make_record([0.5], task={**task, "shots": shots}) for task, shots in zip(tasks, (1, 5), strict=True)])
    assert board.headers == ("5-way 1-shot, imbalanced sampler", "5-way 5-shot, imbalanced sampler")


@pytest.mark.parametrize(
    ("task", "titles"),
    [
        ({"fingerprint": "0" * 64}, ["omniglot, fingerprint 000000000000", "omniglot, fingerprint 21b2eed1e328"]),
        ({"dataset_version": "2"}, ["omniglot, version 1", "omniglot, version 2"]),
        ({"dataset_parameters": {"size": 84}}, ["omniglot, dataset (size=28)", "omniglot, dataset (size=84)"]),
        ({"split": "val"}, ["omniglot", "omniglot, val split"]),
        ({"sampler": "testbed"}, ["omniglot", "omniglot, semantic tasks"]),
        ({"dataset": "cub-200"}, ["cub-200", "omniglot"]),
    ],
)
def test_other_images_and_semantic_tasks_have_boards_of_their_own(make_record, boards, task, titles):
    records = [make_record([0.5, 0.6], name="a"), make_record([0.5, 0.6], name="b", task=task)]
    assert [board.title for board in boards(records)] == titles


def test_conditions_have_boards_of_their_own(make_record, boards):
    labels = {"unlabelled": 9, "acquire": "margin", "budget": 5}
    conditions = [
        None, {"query_balance": 2.0}, {"query_balance": 0.5}, {"label_noise": 0.2, "noise_kind": "symmetric"}, labels,
    ]  # fmt: skip
    found = boards([make_record([0.5], task={"conditions": one}) for one in conditions])
    assert [board.title for board in found] == [
        "omniglot", "omniglot, label noise 0.2", "omniglot, query balance 0.5", "omniglot, query balance 2",
        "omniglot, unlabelled 9, margin 5",
    ]  # fmt: skip


def test_corrupted_images_share_a_board_after_all_others_of_their_dataset(make_record, boards):
    clean = make_record([0.5])
    corrupted = [
        {"name": name, "severity": severity, "version": 1, "clean_fingerprint": clean.task.fingerprint}
        for name, severity in (("noise", 2), ("noise", 1), ("blur", 1))
    ]
    records = [make_record([0.5], task={"corruption": one, "fingerprint": str(i) * 64}) for i, one in enumerate(corrupted)]
    first, second, third = boards([*records, clean, make_record([0.5], task={"sampler": "semantic"})])
    assert [first.title, second.title, third.title] == ["omniglot", "omniglot, semantic tasks", "omniglot, corrupted images"]
    assert third.headers == tuple(f"5-way 1-shot, corruption {name}" for name in ("blur 1", "noise 1", "noise 2"))
    assert len(third.rows) == 1


def test_partial_records_have_no_row(make_record, boards):
    (board,) = boards([make_record([0.5], status="partial"), make_record([0.5], name="a")])
    assert shown(board) == [("a", "1")]


def test_runs_that_drew_other_episodes_have_columns_of_their_own(make_record, boards):
    other = make_record([0.5, 0.6], name="b", task={"episodes_sha256": "0" * 64})
    (board,) = boards([make_record([0.5, 0.6], name="a"), other])
    assert board.headers == ("5-way 1-shot, episodes 000000000000", "5-way 1-shot, episodes a8ace1a76c21")


def test_networks_that_were_meta_trained_alike_for_other_tasks_share_a_row(trained, boards):
    one, five = trained([0.5, 0.6], weights="a"), trained([0.7, 0.8], weights="b", task={"shots": 5})
    (board,) = boards([one, five])
    assert shown(board) == [("protonet", "1", "1")]
    assert board.rows[0].network == "conv4, meta-trained on omniglot"
    (board,) = boards([one, five, trained([0.5, 0.6], weights="a", task={"shots": 5})])
    assert shown(board) == [("protonet (weights=a)", "1", "2"), ("protonet (weights=b)", None, "1")]


def test_other_pretrained_weights_never_share_a_row(trained, boards):
    (board,) = boards([trained([0.5], meta=False), trained([0.5], meta=False, weights="b", task={"shots": 5})])
    assert shown(board) == [("protonet (weights=a)", "1", None), ("protonet (weights=b)", None, "1")]


@pytest.mark.parametrize(
    ("pretraining", "training"),
    [
        (None, "initial weights"),
        ({"dataset": "omniglot", "recipe": "none", "external": False}, "initial weights"),
        ({"dataset": "trifeature", "recipe": "simclr", "external": False}, "trained on trifeature (simclr)"),
        ({"dataset": "unknown", "recipe": "unknown", "external": True}, "external weights§"),
        (
            {
                "dataset": "omniglot", "recipe": "pmf 5-way 1-shot", "external": False, "steps": 9,
                "started_from": {"dataset": "trifeature", "recipe": "dino", "external": False},
            },
            "trained on trifeature (dino), meta-trained on omniglot",
        ),
        (
            {
                "dataset": "omniglot", "recipe": "distill", "external": False,
                "started_from": {"dataset": "trifeature", "recipe": "clip", "external": False},
            },
            "trained on omniglot (distill, taught by clip on trifeature)",
        ),
    ],
)  # fmt: skip
def test_a_group_says_what_the_weights_have_seen(make_record, boards, pretraining, training):
    (board,) = boards([make_record([0.5], backbone={"pretraining": pretraining})])
    assert list(board.groups) == [f"conv4, {training}"]


@pytest.mark.parametrize(
    ("method", "marked"),
    [
        ({"transductive": True}, "protonet†"),
        ({"uses_class_names": True}, "protonet‡"),
        ({"uses_class_names": True, "transductive": True}, "protonet†‡"),
        ({"text": {"prompts": "single", "names_sha256": "1"}, "uses_support": False}, "protonet‡"),
        ({"parameters": {"shift": 0.5, "steps": 3}, "changed": ["shift"]}, "protonet (shift=0.5)"),
    ],
)
def test_the_setting_is_marked(make_record, boards, method, marked):
    (board,) = boards([make_record([0.5], method=method)])
    assert board.rows[0].marked_method == marked


def test_rows_are_grouped_by_method_setting_or_not_at_all(make_record, boards):
    records = [
        make_record([0.5], name="a"),
        make_record([0.6], name="b", method={"transductive": True}),
        make_record([0.7], name="a", backbone={"name": "resnet12"}),
    ]
    training = "trained on trifeature (supervised)"
    assert list(boards(records)[0].groups) == [f"resnet12, {training}", f"conv4, {training}"]
    assert list(boards(records, "method")[0].groups) == ["a", "b†"]
    assert list(boards(records, "setting")[0].groups) == ["inductive", "transductive"]
    (board,) = boards(records, "none")
    names = [board.grouping.names_of(row)[1] for row in board.rows]
    assert names == [f"a, resnet12, {training}", f"b†, conv4, {training}", f"a, conv4, {training}"]


def test_backbones_have_short_names_unless_two_become_the_same(make_record, boards):
    external = {"dataset": "unknown", "recipe": "unknown", "external": True}
    settings = {"parameters": {"mean": 0.5}, "changed": ["mean"], "pretraining": external}
    timm = make_record([0.5], backbone={"name": "timm:mobilenetv2_100", **settings})
    (board,) = boards([timm])
    assert board.rows[0].backbone == "mobilenetv2_100"
    other = make_record([0.4], backbone={"name": "timm:mobilenetv2_100", **settings, "parameters": {"mean": 0.4}})
    assert [row.backbone for row in boards([timm, other])[0].rows] == [
        "mobilenetv2_100 (mean=0.5)",
        "mobilenetv2_100 (mean=0.4)",
    ]
    other = make_record([0.4], backbone={"name": "plugin.py:mobilenetv2_100"})
    assert [row.backbone for row in boards([timm, other])[0].rows] == ["timm:mobilenetv2_100", "plugin.py:mobilenetv2_100"]
    ours = make_record([0.5], backbone={"parameters": {"width": 32}, "changed": ["width"]})
    assert boards([ours])[0].rows[0].backbone == "conv4 (width=32)"


def test_what_a_method_moves_stands_with_the_method(make_record, boards):
    tuned = make_record([0.5], name="finetune", backbone={"tune": "norm"})
    (board,) = boards([tuned, make_record([0.6], name="finetune"), make_record([0.7])])
    assert len(board.groups) == 1
    assert [row.method for row in board.rows] == ["protonet", "finetune (tune=none)", "finetune (tune=norm)"]
