import re
from pathlib import Path

import numpy as np

from fewbench.benchmark.reporting.quotes import quotes_of
from fewbench.benchmark.reporting.summary import summary_of

OURS = np.resize([0.97, 0.99], 100)  # 98.00 ± 0.20
PAGE = Path("leaderboard.md")


def rows(boards, numbers=(), page=PAGE):
    pairs = list(zip(boards, quotes_of(boards, list(numbers)), strict=True))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in summary_of(pairs, page, PAGE)[2:]]


def test_each_setting_has_its_best_row_and_how_far_the_second_is(trained, make_record, boards, published):
    external = {"pretraining": {"dataset": "unknown", "recipe": "unknown", "external": True}}
    records = [
        trained(OURS),
        trained(OURS - 0.01, name="ridge"),
        trained(OURS - 0.02, name="maml", method={"transductive": True}),
        trained(OURS - 0.03, name="proto+text", method={"uses_class_names": True}),
        trained(OURS - 0.04, name="clip-zero-shot", method={"uses_class_names": True, "uses_support": False}),
        make_record(OURS - 0.05, name="simpleshot", backbone=external),
        trained(np.full(100, 0.2), name="chance", method={"uses_support": False}),
    ]
    first, *others = rows(boards(records), [published()])
    paper = "[paper](https://arxiv.org/abs/1703.05175) *98.8* (-0.80, below)"
    best_published = "[protonet](https://arxiv.org/abs/1703.05175) *98.8*"
    best = "protonet, conv4, meta-trained on omniglot"
    start = ["[omniglot](#omniglot)", "5-way 1-shot", "inductive"]
    assert first == [*start, best, "[98.00 ± 0.20](0.json)", "1.00 ± 0.00 (ridge)", paper, best_published]
    assert [row[2:4] for row in others] == [
        ["inductive§", "simpleshot, conv4, external weights§"],
        ["transductive", "maml†, conv4, meta-trained on omniglot"],
        ["class names", "proto+text‡, conv4, meta-trained on omniglot"],
        ["zero-shot", "clip-zero-shot‡, conv4, meta-trained on omniglot"],
    ]
    assert all(row[:2] == ["", ""] and row[5:] == ["–", "–", "–"] for row in others)


def test_the_best_published_number_stands_beside_inductive_rows(trained, boards, published):
    others = [published(method="feat"), published(method="other", accuracy="99.0")]
    made = boards([trained(OURS), trained(OURS, name="maml", method={"transductive": True})])
    found = [row[-2:] for row in rows(made, others)]
    assert found == [["–", "[other](https://arxiv.org/abs/1703.05175) *99.0*"], ["–", "–"]]


def test_a_second_that_is_level_is_said_to_be(trained, boards):
    ((*_, ahead, _, _),) = rows(boards([trained(OURS), trained(np.full(100, 0.979), name="ridge")]))
    assert ahead == "not significant: 0.10 ± 0.20 (ridge)"


def test_a_second_of_the_same_method_has_its_network_named(trained, boards):
    ((*_, ahead, _, _),) = rows(boards([trained(OURS), trained(OURS - 0.01, meta=False, weights="b")]))
    assert ahead == "1.00 ± 0.00 (protonet, conv4, trained on omniglot (supervised))"


def test_links_count_from_the_page(trained, boards):
    ((dataset, *_),) = rows(boards([trained(OURS)]), page=Path("docs/page.md"))
    assert dataset == "[omniglot](../leaderboard.md#omniglot)"


def test_a_task_where_only_chance_answered_has_no_row(make_record, boards):
    assert rows(boards([make_record([0.2], name="chance", method={"uses_support": False})])) == []


def test_rows_without_a_published_number_may_be_left_out(trained, boards, published):
    made = boards([trained(OURS, name="ridge", task={"shots": 5}), trained(OURS)])
    pairs = list(zip(made, quotes_of(made, [published()]), strict=True))
    assert len(summary_of(pairs, PAGE, PAGE)) == 4
    (line,) = summary_of(pairs, PAGE, PAGE, only_published=True)[2:]
    assert line.startswith("| [omniglot](#omniglot) | 5-way 1-shot | inductive | protonet, ")
