import re
from pathlib import Path

import pytest

from fewbench.benchmark.records.store import write_record
from fewbench.benchmark.reporting.leaderboard import MOST, Boards, load_boards, render, update
from fewbench.benchmark.reporting.quotes import quotes_of
from fewbench.core.errors import UserError

BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"


@pytest.fixture
def lines(boards):
    """A function that renders records."""

    def make(*records):
        made = boards(records)
        partial = sum(not record.complete for record in records)
        shown = tuple(zip(made, quotes_of(made, []), strict=True))
        return render(Boards(shown, partial), Path("leaderboard.md"), {})

    return make


@pytest.fixture
def board(tmp_path, make_record):
    """A folder of results with two records on one task and a leaderboard file yet to be made."""
    records = tmp_path / "results" / "records"
    write_record(make_record([0.5, 0.75, 1.0]), records / "omniglot" / "a.json")
    write_record(make_record([0.25, 0.5, 0.75], name="maml"), records / "omniglot" / "b.json")
    return tmp_path / "leaderboard.md", records


def test_a_summary_stands_above_the_boards_of_all_datasets(make_record, lines):
    found = lines(*(make_record([0.5], task={"dataset": name}) for name in ("tiered", "omniglot", "cifar-fs")))
    headings = [line for line in found if line.startswith("#")]
    assert headings == [
        "## The best method of each dataset",
        "### 5-way 1-shot, inductive, trained on the dataset alone",
        "## cifar-fs",
        "## omniglot",
        "## tiered",
    ]
    assert any(line.startswith("| dataset | method |") for line in found) and "| backbone | method | 5-way 1-shot |" in found


@pytest.mark.parametrize(("partial", "line"), [(1, "1 partial record is not shown."), (2, "2 partial records are not shown.")])
def test_partial_records_are_counted_and_not_shown(make_record, lines, partial, line):
    records = [make_record([0.5]), *(make_record([0.9], name=f"unfinished{i}", status="partial") for i in range(partial))]
    found = lines(*records)
    assert line in found and "unfinished" not in "".join(found)


def test_without_records_the_board_says_how_to_make_one(lines):
    markdown = "\n".join(lines())
    assert "There are no complete records yet." in markdown
    assert "bench run --method" in markdown
    assert "partial" not in markdown


def test_names_cannot_break_the_table_or_fake_a_marker(make_record, tmp_path):
    record = make_record([0.5], name=f"a|b\nc {END}")
    write_record(record, tmp_path / "records" / "x.json")
    update(tmp_path / "board.md", tmp_path)
    assert r"| a\|b c \<!-- leaderboard:end --\> |" in (tmp_path / "board.md").read_text(encoding="utf-8")
    assert update(tmp_path / "board.md", tmp_path).stale is False


def test_update_makes_the_file_and_the_figure(board):
    file, records = board
    found = update(file, records.parent)
    text = file.read_text(encoding="utf-8")
    assert (found.stale, found.problems) == (True, ())
    assert text.startswith("# Leaderboard\n")
    assert text.index(" | protonet | ") < text.index(" | maml | ")
    assert re.search(r"^!\[Accuracy .* on omniglot,.*\]\(results/figures/omniglot\.svg\)$", text, re.MULTILINE)
    assert (records.parent / "figures" / "omniglot.svg").read_bytes().startswith(b"<?xml")


def test_update_twice_gives_the_same_bytes(board):
    file, records = board
    figure = records.parent / "figures" / "omniglot.svg"
    update(file, records.parent)
    before = (file.read_bytes(), figure.read_bytes(), file.stat().st_mtime_ns, figure.stat().st_mtime_ns)
    assert update(file, records.parent).stale is False
    assert (file.read_bytes(), figure.read_bytes(), file.stat().st_mtime_ns, figure.stat().st_mtime_ns) == before


def test_check_says_stale_and_writes_nothing(board, make_record):
    file, records = board
    figure = records.parent / "figures" / "omniglot.svg"
    assert update(file, records.parent, check=True).stale is True
    assert not file.exists() and not figure.exists()
    update(file, records.parent)
    assert update(file, records.parent, check=True).stale is False
    write_record(make_record([0.5, 0.5], name="new"), records / "new.json")
    before = file.read_bytes()
    assert update(file, records.parent, check=True).stale is True
    assert file.read_bytes() == before


def test_check_misses_a_figure_that_is_gone(board):
    file, records = board
    update(file, records.parent)
    (records.parent / "figures" / "omniglot.svg").unlink()
    assert update(file, records.parent, check=True).stale is True


def test_text_outside_the_markers_is_kept_to_the_byte(board):
    file, records = board
    before, after = "# Mine\r\n\r\nno newline → ".encode(), b"\r\ntail without newline"
    file.write_bytes(before + f"{BEGIN}\nold table\n{END}".encode() + after)
    update(file, records.parent)
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
        update(file, records.parent, check=check)
    assert file.read_text(encoding="utf-8") == text


def test_a_file_that_is_no_text_is_refused(board):
    file, records = board
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        update(file, records.parent)


def test_a_damaged_record_is_named_and_left_out(board):
    file, records = board
    broken = records / "omniglot" / "broken.json"
    broken.write_text('{"schema_version": 1}', encoding="utf-8")
    found = update(file, records.parent)
    ((path, problem),) = found.problems
    assert path == broken
    assert problem == f"{broken} is a damaged record: status is missing; remove it and repeat the run"
    assert "broken" not in file.read_text(encoding="utf-8")


def test_an_empty_folder_of_records_is_an_empty_board_and_an_absent_one_leaves_the_board_alone(tmp_path):
    board, records = tmp_path / "leaderboard.md", tmp_path / "results" / "records"
    with pytest.raises(UserError, match=rf"^cannot read records {re.escape(str(records))}: No such file or directory$"):
        update(board, records.parent)
    assert not board.exists() and not records.exists()
    records.mkdir(parents=True)
    found = update(board, records.parent)
    assert found.stale
    assert "There are no complete records yet." in board.read_text(encoding="utf-8")


def test_more_folders_of_records_are_included_whatever_their_form(board, make_record, tmp_path):
    file, records = board
    write_record(make_record([0.1, 0.2], name="new"), tmp_path / "study" / "records" / "a.json")
    write_record(make_record([0.1, 0.3], name="flat"), tmp_path / "old" / "x" / "b.json")
    write_record(make_record([0.5, 0.75, 1.0]), tmp_path / "old" / "again.json")
    found = load_boards(records.parent, [tmp_path / "study", tmp_path / "old"])
    ((made, _),) = found.boards
    assert [row.method for row in made.rows] == ["protonet", "maml", "flat", "new"]
    update(file, records.parent, [tmp_path / "study"])
    assert " | new | " in file.read_text(encoding="utf-8")
    assert update(file, records.parent).stale


def test_a_long_group_names_the_command_that_prints_all_of_it(make_record, tmp_path):
    """The command has the folders that the page was made from, and no name can break the table."""
    for number in range(MOST + 2):
        record = make_record([0.5 + number / 100, 0.6 + number / 100], name=f"method-{number}", task={"dataset": "a|b"})
        write_record(record, tmp_path / "mine" / "records" / f"{number}.json")
    update(tmp_path / "board.md", tmp_path / "mine", [tmp_path / "mine" / "records"])
    (line,) = [line for line in (tmp_path / "board.md").read_text(encoding="utf-8").split("\n") if " more: " in line]
    folders = f"--results {tmp_path / 'mine'} --include {tmp_path / 'mine' / 'records'}"
    assert f"| 2 more: `bench leaderboard --dataset 'a\\|b' {folders}` | 55.00 to 56.00 |" in line


def test_the_choice_of_a_dataset_changes_nothing_in_its_board(trained, published, tmp_path):
    write_record(trained([0.5, 0.6], task={"dataset": "cub-200"}), tmp_path / "records" / "a.json")
    write_record(trained([0.5, 0.6], meta=False), tmp_path / "records" / "b.json")
    assert [board.title for board, _ in load_boards(tmp_path).boards] == ["cub-200", "omniglot"]
    (chosen,) = load_boards(tmp_path, datasets=["omniglot"]).boards
    assert chosen == load_boards(tmp_path).boards[1]
