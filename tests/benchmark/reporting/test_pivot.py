from pathlib import Path

import pytest

from fewbench.benchmark.records.store import write_record
from fewbench.benchmark.reporting.pages import update_page
from fewbench.benchmark.reporting.parts import parts
from fewbench.benchmark.reporting.pivot import Field, Query, pivot
from fewbench.core.errors import UserError

SIMPLE = "records=records/*.json rows=method.name columns=task.shots"


@pytest.fixture
def save(make_record, tmp_path, monkeypatch):
    """A function that writes a record into the current folder, a temporary one."""
    monkeypatch.chdir(tmp_path)

    def write(file, accuracies=(0.5, 0.75, 1.0), **sections):
        write_record(make_record(accuracies, **sections), Path("records") / f"{file}.json")

    return write


@pytest.fixture
def grid(save):
    """Two methods at 1, 5 and 10 shots, of which one cell is not there."""
    for method, shots, mean in [("b", 1, 0.25), ("b", 10, 0.75), ("a", 5, 0.5), ("a", 1, 0.4), ("b", 5, 0.6)]:
        accuracies = (mean - 0.125, mean, mean + 0.125) * 10  # s = 0.125 · √(20/29), so half-width 0.038762
        save(f"{method}{shots}", accuracies, name=method, task={"shots": shots})


def filled(query):
    page = Path("page.md")
    page.write_text(f"<!-- table: {query} -->\n<!-- /table -->\n", encoding="utf-8")
    update_page(page, parts())
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]


def test_a_table_worked_by_hand(grid):
    assert filled(SIMPLE) == [
        "| method | 1-shot | 5-shot | 10-shot |",  # in the order of the numbers
        "| --- | ---: | ---: | ---: |",
        "| a | 40.00 ± 3.88 | 50.00 ± 3.88 | – |",
        "| b | 25.00 ± 3.88 | 60.00 ± 3.88 | 75.00 ± 3.88 |",
    ]


@pytest.mark.parametrize(
    ("where", "methods"),
    [
        ("task.shots:5", ["a", "b"]),
        ("task.shots:5,method.name:b", ["b"]),
        ("task.shots:1,task.shots:10,method.name:b", ["b"]),
    ],
)
def test_where_keeps_the_records_that_have_the_values(grid, where, methods):
    table = filled(f"{SIMPLE} where={where}")
    assert [line.split(" | ")[0].removeprefix("| ") for line in table[2:]] == methods
    assert table[0].count("-shot") == where.count("shots")


def test_headers_say_what_the_values_are(save):
    save("one", task={"dataset": "omniglot", "ways": 20, "seed": 3}, backbone={"tune": "norm", "pretraining": None})
    table = filled(
        "records=records/*.json rows=backbone.pretraining.recipe as pretrained by,method.name "
        "columns=task.dataset,task.ways,task.seed,backbone.tune as moving"
    )
    assert table[0] == "| pretrained by | method | omniglot, 20-way, seed 3, moving norm |"
    assert table[2].startswith("| none | protonet |")


def test_names_cannot_break_the_table(save):
    save("odd", name="a|b <!-- /table -->")
    assert r"a\|b \<!-- /table --\>" in filled("records=records/*.json rows=task.seed columns=method.name")[0]
    assert r"a\|b \<!-- /table --\>" in filled(SIMPLE)[2]


def test_a_run_repeated_with_another_interval_fills_its_cell_once(save, make_record, altered):
    save("once")
    alone = filled(SIMPLE)
    write_record(altered(make_record((0.5, 0.75, 1.0)), config_sha256="0" * 64), Path("records") / "again.json")
    assert filled(SIMPLE) == alone


def test_several_records_of_a_cell_are_listed(save):
    for place, name in enumerate("xyz"):
        save(name, (0.5, 0.75, place / 4))
    with pytest.raises(UserError) as caught:
        filled(SIMPLE)
    paths = ", ".join(str(Path("records") / f"{name}.json") for name in "xyz")
    advice = "add a field to rows or columns, or where=FIELD:VALUE"
    assert str(caught.value) == f"page.md, table 1: several records are protonet, 1: {paths}; {advice}"


def test_partial_records_are_left_out(grid, save):
    save("a10", name="a", status="partial", task={"shots": 10})
    assert filled(SIMPLE)[2].endswith("| – |")


def test_a_field_that_some_records_have_is_empty_in_the_others(save):
    save("a", name="a", method={"parameters": {"steps": 5}})
    save("b", name="b")
    table = filled("records=records/*.json rows=method.name columns=method.parameters.steps")
    assert table[0] == "| method | steps 5 | steps none |"


def test_a_parameter_that_records_leave_out_has_its_default(save):
    save("old", name="dp-linear-probe", method={"parameters": {"steps": 5}})
    save("new", name="dp-linear-probe", method={"parameters": {"steps": 5, "optimizer": "dp-ftrl"}})
    table = filled("records=records/*.json rows=method.name columns=method.parameters.optimizer")
    assert table[0] == "| method | dp-ftrl | dp-sgd |"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "records=records/*.json rows=method.name",
            "'records=records/*.json rows=method.name' is not of the form records=GLOB rows=FIELD",
        ),
        (f"{SIMPLE} colour=red", "is not of the form"),
        (f"{SIMPLE} rows=task.seed", "is not of the form"),
        (f"{SIMPLE} where=task.shots", "where=task.shots: write FIELD:VALUE"),
        (SIMPLE.replace("records/", "record/"), "records=record/*.json: no file matches; the glob counts from the current"),
        (SIMPLE.replace("records/*", "/records/*"), "records=/records/*.json: a glob that counts from the current folder"),
        (f"{SIMPLE} where=task.shots:7", "none of 5 records is complete and has the values of where="),
        (SIMPLE.replace("task.shots", "task.shot"), "no record has the field task.shot; did you mean 'shots'?"),
        (f"{SIMPLE} where=tasks.shots:1", "no record has the field tasks.shots; did you mean 'task'?"),
        (SIMPLE.replace("task.shots", "task"), "field task is not a single value; add one of "),
        (SIMPLE.replace("task.shots", "argv"), "field argv is not a single value; it is a list"),
    ],
)
def test_what_cannot_be_filled_is_one_line_and_the_page_is_kept(grid, query, message):
    with pytest.raises(UserError) as caught:
        filled(query)
    assert str(caught.value).startswith("page.md, table 1: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "|" not in Path("page.md").read_text(encoding="utf-8")


def test_a_damaged_record_is_named(grid):
    Path("records/a1.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"a1\.json is a damaged record"):
        filled(SIMPLE)


def test_every_block_is_filled_and_the_rest_kept_to_the_byte(grid):
    page = Path("page.md")
    one, two = (f"<!-- table: {SIMPLE} where=method.name:{name} -->" for name in "ab")
    pieces = [f"# Mine\r\n{one}\r\n", "old", f"<!-- /table -->\r\n\r\nbetween →\n{two}\n", "old", "<!-- /table -->\ntail"]
    page.write_bytes("".join("" if piece == "old" else piece for piece in pieces).encode())
    assert update_page(page, parts(), check=True) and b"| a |" not in page.read_bytes()
    assert update_page(page, parts()) is True
    content = page.read_bytes().decode()
    assert content.startswith(pieces[0].removesuffix("\r\n")) and content.endswith(f"\n{pieces[4]}")
    assert pieces[2].removesuffix("\n") in content
    assert content.index("| a |") < content.index("between") < content.index("| b |")
    before = page.stat().st_mtime_ns
    assert update_page(page, parts()) is False and update_page(page, parts(), check=True) is False
    assert page.stat().st_mtime_ns == before


def test_a_new_record_makes_the_page_stale(grid, save):
    filled(SIMPLE)
    save("a10", name="a", task={"shots": 10})
    assert update_page(Path("page.md"), parts(), check=True) is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Mine\n",
        f"<!-- table: {SIMPLE} -->\n",
        "<!-- /table -->\n",
        f"<!-- /table -->\n<!-- table: {SIMPLE} -->\n",
        f"<!-- table: {SIMPLE} -->\n<!-- table: {SIMPLE} -->\n<!-- /table -->\n",
        f"<!-- table: {SIMPLE} -->\n<!-- /table -->\n<!-- /table -->\n",
        f"<!-- table: {SIMPLE} --> text\n<!-- /table -->\n",
    ],
)
def test_markers_without_their_partners_are_refused(grid, text):
    Path("page.md").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"page\.md needs lines '<!-- table: .*' below it"):
        update_page(Path("page.md"), parts())
    assert Path("page.md").read_text(encoding="utf-8") == text


def test_an_absent_page_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        update_page(tmp_path / "absent.md", parts())


def test_true_and_false_and_text_are_told_apart(make_record):
    record = make_record([0.5], method={"transductive": True})
    query = Query("", (Field("method.transductive", ""),), (Field("task.sampler", ""),), {})
    assert pivot(query, [(Path("x"), record)])[0] == "| transductive | uniform |"
    assert pivot(query, [(Path("x"), record)])[2].startswith("| true |")
