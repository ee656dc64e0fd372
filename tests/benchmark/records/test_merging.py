from dataclasses import replace

import numpy as np
import pytest

from fewbench.benchmark.records.identity import place_of
from fewbench.benchmark.records.merging import Merged, differing, merge
from fewbench.benchmark.records.record import accuracy_section
from fewbench.benchmark.records.store import load_record, write_record
from fewbench.core.errors import UserError


@pytest.fixture
def put(tmp_path):
    def put(record, folder, ending=".json"):
        path = (tmp_path / folder / place_of(record)).with_suffix(ending)
        write_record(record, path)
        return path

    return put


def test_records_that_differ_in_time_machine_and_command_line_are_one(record, altered, put, tmp_path):
    here = put(record, "a")
    before = here.read_bytes()
    put(altered(record, argv=("bench", "run"), timing=replace(record.timing, total_seconds=99.0)), "b")
    put(record, "c/deep")
    assert merge([tmp_path / "b", tmp_path / "c" / "deep" / "records"], tmp_path / "a") == Merged((), 2, ())
    assert here.read_bytes() == before


def test_records_come_to_their_places_and_a_second_merge_adds_none(record, put, tmp_path):
    there = put(record, "b")
    merged = merge([tmp_path / "b"], tmp_path / "a")
    assert merged.added == (tmp_path / "a" / place_of(record),)
    assert merged.added[0].read_bytes() == there.read_bytes()
    assert merge([tmp_path / "b", tmp_path / "a"], tmp_path / "a") == Merged((), 2, ())


def test_another_answer_is_named_and_left_out(record, altered, put, tmp_path):
    here = put(record, "a")
    other = altered(record, accuracy=accuracy_section(record.accuracies[::-1] * 0.5))
    there = put(other, "b")
    merged = merge([tmp_path / "b"], tmp_path / "a")
    assert merged.added == () and len(merged.problems) == 1
    assert merged.problems[0].startswith(f"{there} and {here} differ in accuracy.")
    assert load_record(here) == record
    assert "accuracy.per_episode" in differing(record, other)


def test_of_partial_records_the_longest_stays_until_the_run_is_finished(record, altered, put, tmp_path):
    def cut(n):
        return altered(record, status="partial", n_episodes=n, accuracy=accuracy_section(record.accuracies[:n]))

    put(cut(3), "a", ".partial.json")
    put(cut(2), "b", ".partial.json")
    longest = put(cut(5), "c", ".partial.json")
    merged = merge([tmp_path / name for name in "bc"], tmp_path / "a")
    assert (len(merged.added), merged.known, merged.problems) == (1, 1, ())
    assert load_record(merged.added[0]) == load_record(longest)
    put(record, "d")
    assert merge([tmp_path / "c", tmp_path / "d"], tmp_path / "e").added == (tmp_path / "e" / place_of(record),)


def test_partial_records_of_other_answers_are_named(record, altered, put, tmp_path):
    for folder, accuracies in (("a", record.accuracies[:4]), ("b", np.flip(record.accuracies[:4]) * 0.5)):
        put(altered(record, status="partial", n_episodes=4, accuracy=accuracy_section(accuracies)), folder, ".partial.json")
    (problem,) = merge([tmp_path / "b"], tmp_path / "a").problems
    assert problem.endswith("differ in their first 4 episodes")


def test_a_damaged_record_is_named_and_an_absent_folder_is_an_error(tmp_path):
    (tmp_path / "b" / "records").mkdir(parents=True)
    (tmp_path / "b" / "records" / "bad.json").write_text("{")
    (problem,) = merge([tmp_path / "b"], tmp_path / "a").problems
    assert "bad.json is a damaged record" in problem
    with pytest.raises(UserError, match="absent: No such file"):
        merge([tmp_path / "absent"], tmp_path / "a")
