import csv
import io
import json

import numpy as np
import pytest

from fewbench.benchmark.reporting.entries import csv_of, entries_of, json_of
from fewbench.benchmark.reporting.formats import Cut, anchor_of, latex_of, markdown_of, text_of
from fewbench.benchmark.reporting.quotes import quotes_of

OURS = np.resize([0.97, 0.99], 100)  # 98.00 ± 0.20


@pytest.fixture
def board(trained, boards, published):
    """A board of two groups and two tasks, with a published number beside its best row and one below, and its quotes."""
    records = [
        trained(OURS),
        trained(OURS, task={"shots": 5}),
        trained(OURS - 0.5, name="maml", method={"transductive": True}),
        trained(OURS - 0.1, name="a_b&c", backbone={"name": "resnet12", "pretraining": None}),
    ]
    made = boards(records)
    numbers = [published(half_width="0.1"), published(method="feat", accuracy="99.0", shots="5"), published(method="feat")]
    return made[0], quotes_of(made, numbers)[0]


def test_a_markdown_table_worked_by_hand(board):
    paper = "[1703.05175](https://arxiv.org/abs/1703.05175)"
    assert markdown_of(*board) == [
        "| backbone | method | 5-way 1-shot | 5-way 5-shot |",
        "| --- | --- | ---: | ---: |",
        "| conv4, meta-trained on omniglot | protonet | **98.00 ± 0.20** <sub>1</sub> | **98.00 ± 0.20** <sub>1</sub> |",
        f"|   | *paper* {paper} | *98.8 ± 0.1* (-0.80, below) | – |",
        "|   | maml† | 48.00 ± 0.20 <sub>3</sub> | – |",
        r"| resnet12, initial weights | a_b&c | **88.00 ± 0.20** <sub>2</sub> | – |",
        f"| best published | *feat, conv4*, *paper* {paper} | *98.8* | *99.0* |",
    ]


def test_a_latex_table_worked_by_hand(board):
    assert latex_of(*board) == [
        "% omniglot",
        r"\begin{tabular}{llrr}",
        r"\toprule",
        r"backbone & method & 5-way 1-shot & 5-way 5-shot \\",
        r"\midrule",
        r"conv4, meta-trained on omniglot & protonet & \textbf{98.00 $\pm$ 0.20} \textsubscript{1} & "
        r"\textbf{98.00 $\pm$ 0.20} \textsubscript{1} \\",
        r" & \textit{paper} 1703.05175 & \textit{98.8 $\pm$ 0.1} (-0.80, below) &  \\",
        r" & maml\textsuperscript{\textdagger} & 48.00 $\pm$ 0.20 \textsubscript{3} &  \\",
        r"\midrule",
        r"resnet12, initial weights & a\_b\&c & \textbf{88.00 $\pm$ 0.20} \textsubscript{2} &  \\",
        r"\midrule",
        r"best published & \textit{feat, conv4}, \textit{paper} 1703.05175 & \textit{98.8} & \textit{99.0} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_plain_text_has_the_same_rows(board):
    assert text_of(*board)[:3] == [
        ["conv4, meta-trained on omniglot", "protonet", "98.00 ± 0.20* (1)", "98.00 ± 0.20* (1)"],
        ["", "paper 1703.05175", "98.8 ± 0.1 (-0.80, below)", ""],
        ["", "maml†", "48.00 ± 0.20 (3)", ""],
    ]
    assert len(text_of(*board)) == len(markdown_of(*board)) - 2


def test_a_long_group_counts_the_rows_that_it_leaves_out(trained, boards, published):
    """Beyond the first row stay: the best of a column, the one with a published number, the one that uses no support."""
    names = ["a", "maml", "b", "c", "five"]
    records = [trained(OURS - number / 10, name=name) for number, name in enumerate(names)]
    records += [trained(OURS, name="five", task={"shots": 5}), trained(OURS - 0.6, name="none", method={"uses_support": False})]
    (made,) = boards(records)
    (quotes,) = quotes_of([made], [published(method="maml")])
    lines = [line.split(" | ") for line in markdown_of(made, quotes, Cut(1, "`all`"))[2:]]
    assert [line[1] for line in lines] == [
        "a",
        "maml",
        "*paper* [1703.05175](https://arxiv.org/abs/1703.05175)",
        "five",
        "none",
        "2 more: `all`",
    ]
    assert lines[-1][2:] == ["68.00 to 78.00", "– |"]
    assert len(markdown_of(made, quotes, Cut(4, "`all`"))) == len(markdown_of(made, quotes))


def test_csv_and_json_have_every_run_with_its_record(board):
    entries = entries_of(*board)
    assert json.loads(json_of(entries)) == list(map(vars, entries))
    read = list(csv.DictReader(io.StringIO(csv_of(entries))))
    assert [(one["task"], one["method"], one["record"]) for one in read] == [
        ("5-way 1-shot", "protonet", "0.json"),
        ("5-way 5-shot", "protonet", "1.json"),
        ("5-way 1-shot", "maml", "2.json"),
        ("5-way 1-shot", "a_b&c", "3.json"),
    ]
    first = entries[0]
    assert (first.accuracy, first.half_width, first.episodes) == (98.0, 0.1994, 100)
    assert (first.rank_best, first.rank_worst, first.best_of_group, first.setting) == (1, 1, True, "inductive")
    assert (first.backbone, first.training) == ("conv4", "meta-trained on omniglot")
    assert (first.published, first.published_kind, first.verdict) == (98.8, "paper", "below")
    assert read[2]["published"] == "" and entries[2].published is None


def test_no_entries_are_an_empty_file_and_an_empty_list():
    assert (csv_of([]).strip(), json_of([])) == ("", "[]\n")


def test_a_name_cannot_break_a_table(make_record, boards):
    (board,) = boards([make_record([0.5], name="a|b\nc <!-- leaderboard:end --> % \\")])
    (quotes,) = quotes_of([board], [])
    assert r"| a\|b c \<!-- leaderboard:end --\> % \\ |" in markdown_of(board, quotes)[2]
    assert r"a|b c <!-{}" not in latex_of(board, quotes)[5] and r"\% \textbackslash{}" in latex_of(board, quotes)[5]


def test_anchors_are_those_of_the_headings():
    assert anchor_of("mini-imagenet") == "#mini-imagenet"
    assert anchor_of("tiny.py:Tiny, corrupted images") == "#tinypytiny-corrupted-images"
