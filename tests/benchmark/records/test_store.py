import json
from pathlib import Path

import pytest

from fewbench.benchmark.records.store import load_record, load_records, parse_record, write_record
from fewbench.core.errors import UserError


def reading(content):
    return parse_record(json.dumps(content), Path("some/run.json"))


def test_a_newer_schema_asks_for_an_upgrade(content):
    with pytest.raises(UserError, match="schema version 99, newer than this fewbench knows; upgrade fewbench"):
        reading({**content, "schema_version": 99})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(UserError, match=r"run\.json is a damaged record"):
        parse_record(text, Path("run.json"))


def test_a_file_that_is_absent_or_no_text_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read record .*absent\.json: No such file"):
        load_record(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"binary\.json is a damaged record: it is not UTF-8"):
        load_record(tmp_path / "binary.json")


def test_records_are_found_in_order_of_their_relative_paths_and_bad_ones_are_named(record, tmp_path):
    for name in ("b/2.json", "a/x/3.json", "b/1.json"):
        write_record(record, tmp_path / name)
    (tmp_path / "a" / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "b" / "notes.txt").write_text("no record", encoding="utf-8")
    records, problems = load_records(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path, _ in records] == ["a/x/3.json", "b/1.json", "b/2.json"]
    assert [path for path, _ in problems] == [tmp_path / "a" / "broken.json"]
    assert str(tmp_path / "a" / "broken.json") in problems[0][1]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"cannot read records .*absent: No such file"):
        load_records(tmp_path / "absent")
