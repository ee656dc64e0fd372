import re
from pathlib import Path

import numpy as np

from fewbench.benchmark.reporting.quotes import quotes_of
from fewbench.benchmark.reporting.summary import summary_of

OURS = np.resize([0.97, 0.99], 100)  # 98.00 ± 0.20
PAGE = Path("leaderboard.md")


def rows(boards, numbers=(), page=PAGE):
    """The rows of all tables, without their heads."""
    pairs = list(zip(boards, quotes_of(boards, list(numbers)), strict=True))
    lines = [line for line in summary_of(pairs, page, PAGE) if line.startswith("| [")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


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
    paper = "*98.8* ([its paper](https://arxiv.org/abs/1703.05175)); ours 0.80 ± 0.20 lower: more than our interval"
    best_published = "*98.8* ([protonet](https://arxiv.org/abs/1703.05175), conv4)"
    dataset = "[omniglot](#omniglot)"
    network = "conv4, meta-trained"
    lead = "+1.00 ± 0.00 over ridge: significant"
    assert first == [dataset, "protonet", network, "[98.00 ± 0.20](0.json)", lead, paper, best_published]
    assert [row[1:4] for row in others] == [
        ["inductive§", "simpleshot", "conv4, external weights"],
        ["transductive", "maml†", network],
        ["class names", "proto+text‡", network],
        ["zero-shot", "clip-zero-shot‡", network],
    ]
    assert all(row[0] == dataset and row[5:] == ["no other method was run", "none for this backbone"] for row in others)


def test_the_usual_task_has_tables_of_its_own(trained, boards):
    made = boards([trained(OURS, task={"shots": 5}), trained(OURS), trained(OURS, name="maml", method={"transductive": True})])
    lines = summary_of(list(zip(made, quotes_of(made, []), strict=True)), PAGE, PAGE)
    assert [line for line in lines if line.startswith("#")] == [
        "### 5-way 1-shot, inductive, trained on the dataset alone",
        "### 5-way 1-shot, other settings",
        "### Other tasks",
    ]
    assert [line.split(" | ")[1] for line in lines if line.startswith("| [")] == ["protonet", "transductive", "5-way 5-shot"]


def test_the_best_published_number_stands_beside_inductive_rows(trained, boards, published):
    others = [published(method="feat"), published(method="other", accuracy="99.0")]
    made = boards([trained(OURS), trained(OURS, name="maml", method={"transductive": True})])
    inductive, transductive = rows(made, others)
    assert inductive[-2:] == ["none for this backbone", "*99.0* ([other](https://arxiv.org/abs/1703.05175), conv4)"]
    assert transductive[-1] == "none for this backbone"


def test_a_rerun_has_the_address_of_its_source(trained, boards, published):
    number = published(kind="rerun", source="https://example.org/table")
    ((*_, found, _),) = rows(boards([trained(OURS)]), [number])
    assert found == "*98.8* ([rerun by others](https://example.org/table)); ours 0.80 ± 0.20 lower: more than our interval"


def test_a_difference_from_a_published_interval_is_significant_or_not(trained, boards, published):
    for half_width, told in (("0.5", "0.80 ± 0.54 lower: significant"), ("0.9", "0.80 ± 0.92 lower: not significant")):
        ((*_, found, _),) = rows(boards([trained(OURS)]), [published(half_width=half_width)])
        assert found == f"*98.8 ± {half_width}* ([its paper](https://arxiv.org/abs/1703.05175)); ours {told}"


def test_a_lead_that_is_not_significant_is_said_to_be(trained, boards):
    ((*_, lead, _, _),) = rows(boards([trained(OURS), trained(np.full(100, 0.979), name="ridge")]))
    assert lead == "+0.10 ± 0.20 over ridge: not significant"


def test_the_second_is_another_method_and_its_network_is_named(trained, boards):
    again, other = trained(OURS - 0.01, meta=False, weights="b"), trained(OURS - 0.02, meta=False, weights="b", name="ridge")
    ((*_, lead, _, _),) = rows(boards([trained(OURS), again, other]))
    assert lead == "+2.00 ± 0.00 over ridge, conv4, trained (supervised): significant"


def test_links_count_from_the_page(trained, boards):
    ((dataset, *_),) = rows(boards([trained(OURS)]), page=Path("docs/page.md"))
    assert dataset == "[omniglot](../leaderboard.md#omniglot)"


def test_a_task_where_only_chance_answered_has_no_row(make_record, boards):
    assert rows(boards([make_record([0.2], name="chance", method={"uses_support": False})])) == []


def test_rows_without_a_published_number_may_be_left_out(trained, boards, published):
    made = boards([trained(OURS, name="ridge", task={"shots": 5}), trained(OURS)])
    pairs = list(zip(made, quotes_of(made, [published()]), strict=True))
    assert len(rows(made, [published()])) == 2
    (line,) = summary_of(pairs, PAGE, PAGE, only_published=True)[2:]
    assert line.startswith("| [omniglot](#omniglot) | 5-way 1-shot | inductive | protonet | ")
