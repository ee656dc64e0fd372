import re

import pytest

from fewbench.benchmark.records.store import write_record
from fewbench.benchmark.reporting.leaderboard import render, update
from fewbench.core.errors import UserError

BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def rows(markdown):
    """Every table's rows as dicts, header to cell."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    found, header = [], []
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and lines[i + 1].startswith("| ---"):
            header = cells(line)
        elif not line.startswith("| ---"):
            found.append(dict(zip(header, cells(line), strict=True)))
    return found


@pytest.fixture
def board(tmp_path, make_record):
    """A folder of results with two records on one task and a leaderboard file yet to be made."""
    records = tmp_path / "results" / "records"
    write_record(make_record([0.5, 0.75, 1.0]), records / "omniglot" / "a.json")
    write_record(make_record([0.25, 0.5, 0.75], name="maml"), records / "omniglot" / "b.json")
    return tmp_path / "leaderboard.md", records


def test_a_row_worked_by_hand(make_record):
    # mean 0.75, s = 0.25 · √(2/3) · √(30/29), t(0.975, 29) = 2.045230: half-width 0.077524
    # without replacement: s = 0.1 · √(40/39), t(0.975, 39) = 2.022691: half-width 0.032389
    record = make_record([0.5, 0.75, 1.0] * 10, apart=[0.8, 0.6] * 20, timing={"classify_seconds": 12.34})
    assert rows(render([record])) == [
        {
            "rank": "1",
            "method": "protonet",
            "backbone": "conv4",
            "setting": "inductive",
            "pretraining data": "trifeature (supervised)",
            "accuracy (%)": "75.00 ± 7.75",
            "without replacement (%)": "70.00 ± 3.24 (40 episodes)",
            "episodes": "30",
            "seconds": "12.3",
        }
    ]


def test_a_table_stands_under_its_dataset_task_and_data(make_record):
    lines = render([make_record([0.5, 0.75], task={"fingerprint": "0123456789abcdef" * 4})]).splitlines()
    assert lines[:7] == [
        "## omniglot",
        "",
        "### 5-way 1-shot, 15 queries, uniform sampler, test split, seed 0",
        "",
        "Dataset version 1 (size=28), fingerprint 0123456789ab",
        "",
        "| rank | method | backbone | setting | pretraining data | accuracy (%) | episodes | seconds |",
    ]


def test_ties_share_a_range_of_ranks(make_record):
    records = [
        make_record([0.25, 0.5, 0.75], name="last"),
        make_record([0.5, 0.75, 1.0], name="a"),
        make_record([0.5, 0.75, 1.0], name="b"),
    ]
    assert [(row["rank"], row["method"]) for row in rows(render(records))] == [("1–2", "a"), ("1–2", "b"), ("3", "last")]


@pytest.mark.parametrize(
    ("sections", "column", "cell"),
    [
        ({"method": {"transductive": True}}, "setting", "transductive"),
        ({"method": {"uses_class_names": True}}, "setting", "inductive, class names"),
        ({"backbone": {"pretraining": None}}, "pretraining data", "none"),
        (
            {"backbone": {"pretraining": {"dataset": "imagenet-1k", "recipe": "dino", "external": True}}},
            "pretraining data",
            "imagenet-1k (dino), external",
        ),
        ({"backbone": {"tune": "norm"}}, "backbone", "conv4 (tune=norm)"),
        ({"method": {"parameters": {"shift": 0.5, "steps": 3}, "changed": ["shift"]}}, "method", "protonet (shift=0.5)"),
        ({"accuracy": {"level": 0.9}}, "accuracy (%)", "62.50 ± 4.96 (90 %)"),
    ],
)
def test_what_sets_a_run_apart_is_marked(make_record, sections, column, cell):
    assert rows(render([make_record([0.5, 0.75] * 10, **sections)]))[0][column] == cell


def test_an_empty_cell_beside_a_filled_one_is_a_dash(make_record):
    records = [make_record([0.5, 0.75] * 10, name="a", apart=[0.5] * 9), make_record([0.25, 0.5] * 10, name="b")]
    assert [row["without replacement (%)"] for row in rows(render(records))] == ["too few images: 9 episodes", "–"]


def test_too_few_episodes_have_no_interval(make_record):
    (row,) = rows(render([make_record([0.5, 0.75, 1.0], apart=[0.5] * 19)]))
    assert (row["accuracy (%)"], row["without replacement (%)"]) == (
        "75.00 (too few episodes: 3)",
        "too few episodes: 19 episodes",
    )
    (row,) = rows(render([make_record([0.5] * 20, apart=[0.5] * 20)]))
    assert (row["accuracy (%)"], row["without replacement (%)"]) == ("50.00 ± 0.00", "50.00 ± 0.00 (20 episodes)")


@pytest.mark.parametrize("task", [{"fingerprint": "0" * 64}, {"seed": 1}, {"sampler": "other"}, {"dataset_version": "2"}])
def test_different_tasks_have_tables_of_their_own(make_record, task):
    markdown = render([make_record([0.5, 0.75], name="a"), make_record([0.75, 1.0], name="b", task=task)])
    assert [row["rank"] for row in rows(markdown)] == ["1", "1"]
    assert (markdown.count("## omniglot"), markdown.count("### ")) == (1, 2)


def test_datasets_have_sections_in_order(make_record):
    records = [make_record([0.5], task={"dataset": name}) for name in ("tiered", "omniglot", "cifar-fs")]
    assert re.findall(r"^## (.*)$", render(records), re.MULTILINE) == ["cifar-fs", "omniglot", "tiered"]


@pytest.mark.parametrize(("partial", "line"), [(1, "1 partial record is not shown."), (2, "2 partial records are not shown.")])
def test_partial_records_are_counted_and_not_shown(make_record, partial, line):
    records = [make_record([0.5]), *(make_record([0.9], name=f"unfinished{i}", status="partial") for i in range(partial))]
    markdown = render(records)
    assert line in markdown.splitlines()
    assert [row["method"] for row in rows(markdown)] == ["protonet"]


def test_without_records_the_board_says_how_to_make_one():
    markdown = render([])
    assert "There are no complete records yet." in markdown
    assert "bench run --method" in markdown
    assert "partial" not in markdown


def test_names_cannot_break_the_table_or_fake_a_marker(make_record, tmp_path):
    record = make_record([0.5], name=f"a|b\nc {END}")
    assert rows(render([record]))[0]["method"] == r"a\|b c \<!-- leaderboard:end --\>"
    write_record(record, tmp_path / "records" / "x.json")
    update(tmp_path / "board.md", tmp_path / "records")
    assert update(tmp_path / "board.md", tmp_path / "records").stale is False


def test_update_makes_the_file_and_the_figure(board):
    file, records = board
    found = update(file, records)
    text = file.read_text(encoding="utf-8")
    assert (found.stale, found.shown, found.problems) == (True, 2, ())
    assert text.startswith("# Leaderboard\n")
    assert [row["method"] for row in rows(text)] == ["protonet", "maml"]
    assert re.search(r"^!\[Accuracy .* on omniglot .*\]\(results/figures/omniglot\.svg\)$", text, re.MULTILINE)
    assert (records.parent / "figures" / "omniglot.svg").read_bytes().startswith(b"<?xml")


def test_update_twice_gives_the_same_bytes(board):
    file, records = board
    figure = records.parent / "figures" / "omniglot.svg"
    update(file, records)
    before = (file.read_bytes(), figure.read_bytes(), file.stat().st_mtime_ns, figure.stat().st_mtime_ns)
    assert update(file, records).stale is False
    assert (file.read_bytes(), figure.read_bytes(), file.stat().st_mtime_ns, figure.stat().st_mtime_ns) == before


def test_check_says_stale_and_writes_nothing(board, make_record):
    file, records = board
    figure = records.parent / "figures" / "omniglot.svg"
    assert update(file, records, check=True).stale is True
    assert not file.exists() and not figure.exists()
    update(file, records)
    assert update(file, records, check=True).stale is False
    write_record(make_record([0.5, 0.5], name="new"), records / "new.json")
    before = file.read_bytes()
    assert update(file, records, check=True).stale is True
    assert file.read_bytes() == before


def test_check_misses_a_figure_that_is_gone(board):
    file, records = board
    update(file, records)
    (records.parent / "figures" / "omniglot.svg").unlink()
    assert update(file, records, check=True).stale is True


def test_text_outside_the_markers_is_kept_to_the_byte(board):
    file, records = board
    before, after = "# Mine\r\n\r\nno newline → ".encode(), b"\r\ntail without newline"
    file.write_bytes(before + f"{BEGIN}\nold table\n{END}".encode() + after)
    update(file, records)
    content = file.read_bytes()
    assert content.startswith(before + BEGIN.encode())
    assert content.endswith(END.encode() + after)
    assert b"old table" not in content


@pytest.mark.parametrize(
    "text",
    ["", "# Mine\n", f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n", f"{BEGIN}\n{END}\n{END}\n"],
)
@pytest.mark.parametrize("check", [False, True])
def test_a_file_without_a_pair_of_markers_is_refused_and_kept(board, text, check):
    file, records = board
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"leaderboard\.md needs one line '<!-- leaderboard:begin -->'"):
        update(file, records, check)
    assert file.read_text(encoding="utf-8") == text


def test_a_file_that_is_no_text_is_refused(board):
    file, records = board
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        update(file, records)


def test_a_damaged_record_is_named_and_left_out(board):
    file, records = board
    broken = records / "omniglot" / "broken.json"
    broken.write_text('{"schema_version": 1}', encoding="utf-8")
    found = update(file, records)
    assert found.shown == 2
    ((path, problem),) = found.problems
    assert path == broken
    assert problem == f"{broken} is a damaged record: status is missing; remove it and repeat the run"
    assert "broken" not in file.read_text(encoding="utf-8")


def test_an_empty_folder_of_records_is_an_empty_board_and_an_absent_one_leaves_the_board_alone(tmp_path):
    board, records = tmp_path / "leaderboard.md", tmp_path / "results" / "records"
    with pytest.raises(UserError, match=rf"^cannot read records {re.escape(str(records))}: No such file or directory$"):
        update(board, records)
    assert not board.exists() and not records.exists()
    records.mkdir(parents=True)
    found = update(board, records)
    assert (found.stale, found.shown) == (True, 0)
    assert "There are no complete records yet." in board.read_text(encoding="utf-8")


def test_a_semantic_task_worked_by_hand(make_record, coarse):
    # Pairs of episodes by coarsity (10, 20), (30, 40), (50, 60), (70, 80) with accuracies 0.5 ± 0.1, 0.6 ± 0, 0.7 ± 0.02 and
    # 0.9 ± 0, ten times each: half-widths t(0.975, 19) · d · √(20/19) / √20 = 0.480173 · d.
    accuracies = [0.4, 0.9, 0.6, 0.6, 0.9, 0.6, 0.72, 0.68] * 10
    record = make_record(accuracies, task=coarse([20, 70, 10, 30, 80, 40, 60, 50] * 10))
    markdown = render([record])
    assert "semantic sampler (alpha=0.5, beta=10.0, tasks=80, testbed_sha256=0123456789ab)" in markdown
    assert ", mean coarsity 45.00\n" in markdown
    (row,) = rows(markdown)
    assert list(row)[5:11] == ["accuracy (%)", "Q1, finest (%)", "Q2 (%)", "Q3 (%)", "Q4, coarsest (%)", "episodes"]
    assert list(row.values())[6:10] == ["50.00 ± 4.80", "60.00 ± 0.00", "70.00 ± 0.96", "90.00 ± 0.00"]


def test_semantic_tasks_have_a_section_of_their_own_below_the_others(make_record, coarse):
    records = [
        make_record([0.5, 0.75], task=coarse([1.0, 2.0])),
        make_record([0.5, 0.75]),
        make_record([0.5, 0.75], task={"dataset": "tiered-imagenet"}),
    ]
    markdown = render(records)
    headings = re.findall(r"^## (.*)$", markdown, re.MULTILINE)
    assert headings == ["omniglot", "omniglot, semantic tasks", "tiered-imagenet"]
    assert ["Q1, finest (%)" in row for row in rows(markdown)] == [False, True, False]
    assert markdown.count("Coarsity is the mean squared distance") == 1


def test_an_empty_quartile_is_a_dash_beside_a_run_that_has_one(make_record, coarse):
    tied = make_record([0.5, 0.25] * 10, name="tied", task=coarse([3.0, 3.0] * 10))
    apart = make_record([0.5, 0.75] * 10, name="apart", task=coarse([3.0, 4.0] * 10))
    found = {row["method"]: row for row in rows(render([tied, apart]))}
    assert (found["tied"]["Q1, finest (%)"], found["tied"]["Q3 (%)"]) == ("37.50 ± 6.00", "–")
    assert (found["apart"]["Q1, finest (%)"], found["apart"]["Q3 (%)"]) == (
        "50.00 (too few episodes: 10)",
        "75.00 (too few episodes: 10)",
    )
    assert "Q2 (%)" not in found["apart"]


def test_update_twice_gives_the_same_bytes_with_a_figure_for_semantic_tasks(board, make_record, coarse):
    file, records = board
    write_record(make_record([0.5, 0.75], task=coarse([1.0, 2.0])), records / "semantic.json")
    update(file, records)
    figures = [records.parent / "figures" / f"{name}.svg" for name in ("omniglot", "omniglot-semantic-tasks")]
    assert "](results/figures/omniglot-semantic-tasks.svg)" in file.read_text(encoding="utf-8")
    before = [path.read_bytes() for path in (file, *figures)]
    assert update(file, records).stale is False
    assert [path.read_bytes() for path in (file, *figures)] == before
    assert update(file, records, check=True).stale is False
