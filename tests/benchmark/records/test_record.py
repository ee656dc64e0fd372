import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark.records.codec import encode
from fewbench.benchmark.records.record import (
    RunRecord,
    accuracy_section,
    config_digest,
    file_safe,
    load_record,
    load_records,
    record_path,
    task_slug,
    write_record,
)
from fewbench.benchmark.records.statistics import bootstrap_interval, t_interval
from fewbench.core.errors import UserError
from fewbench.tasks.corruptions import Corruption

FROZEN = Path(__file__).parents[1] / "data" / "record-schema-1.json"
FROZEN_ACCURACIES = np.array([52, 44, 61, 75, 0, 52, 33, 48, 57, 44]) / 75


@pytest.fixture
def record():
    return load_record(FROZEN)


@pytest.fixture
def content():
    return json.loads(FROZEN.read_text(encoding="utf-8"))


def reading(content):
    return RunRecord.from_json(json.dumps(content), Path("some/run.json"))


def test_the_frozen_record_of_schema_1_still_reads(record):
    assert record.accuracies.tobytes() == FROZEN_ACCURACIES.tobytes()
    assert record.mean == pytest.approx(466 / 750)
    # s² = (25268 − 466²/10)/9 in 75ths squared, t(0.975, 9) = 2.262157
    assert record.half_width == pytest.approx(2.262157 * (3552.4 / 9 / 10) ** 0.5 / 75, rel=1e-6)
    assert (record.complete, record.n_episodes, record.method_name, record.backbone_name) == (True, 10, "protonet", "conv4")
    assert record.environment["cpu"] == "größer als ×86"
    assert record.accuracy["without_replacement"]["episodes"] == 3


def test_the_frozen_record_is_written_as_it_was(record, content):
    assert json.loads(record.to_json()) == content
    assert record.to_json().encode("utf-8") == FROZEN.read_bytes()


def test_text_has_sorted_keys_one_space_and_a_newline_at_the_end(record):
    text = record.to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    assert text.startswith('{\n "accuracy": {\n  "bootstrap"')


def test_a_written_record_reads_back_equal(record, tmp_path):
    path = tmp_path / "deep" / "run.json"
    write_record(record, path)
    again = load_record(path)
    assert again == record
    assert again.accuracies.tobytes() == record.accuracies.tobytes()
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]


def test_accuracies_cannot_be_changed(record):
    with pytest.raises(ValueError, match="read-only"):
        record.accuracies[0] = 1.0


def test_accuracy_section_holds_the_intervals_of_its_values():
    values, apart = np.random.default_rng(0).integers(0, 76, 200) / 75, np.array([0.4, 0.5, 0.9])
    section = accuracy_section(values, 0.9, bootstrap_seed=5, resamples=300, without_replacement=apart)
    interval, bootstrap, disjoint = t_interval(values, 0.9), bootstrap_interval(values, 0.9, 5, 300), t_interval(apart, 0.9)
    assert (section["mean"], section["half_width"], section["level"]) == (interval.mean, interval.half_width, 0.9)
    assert section["bootstrap"] == {"low": bootstrap.low, "high": bootstrap.high, "resamples": 300}
    found = section["without_replacement"]
    assert (found["mean"], found["half_width"], found["episodes"]) == (disjoint.mean, disjoint.half_width, 3)


def test_a_single_episode_has_no_half_width_and_can_be_recorded(record):
    single = replace(record, n_episodes=1, accuracy=accuracy_section(np.array([0.25])))
    assert single.half_width is None
    assert json.loads(single.to_json())["accuracy"]["half_width"] is None
    assert RunRecord.from_json(single.to_json(), Path("x")) == single


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "done"}, "status is 'done'"),
        ({"n_episodes": 9}, "it has 10 per-episode accuracies for 9 episodes"),
        ({"argv": None}, "argv is not a list"),
        ({"extra": 1}, "extra is unknown"),
        ({"schema_version": 0}, "schema_version is 0"),
    ],
)
def test_a_damaged_record_is_named_in_one_line(content, change, problem):
    with pytest.raises(UserError) as caught:
        reading({**content, **change})
    message = str(caught.value)
    assert message.startswith(f"{Path('some/run.json')} is a damaged record: {problem}")
    assert "\n" not in message


def test_a_missing_section_and_a_missing_key_are_named(content):
    task = {key: value for key, value in content["task"].items() if key != "fingerprint"}
    with pytest.raises(UserError, match=r"task\.fingerprint is missing"):
        reading({**content, "task": task})
    del content["task"]
    with pytest.raises(UserError, match="task is missing"):
        reading(content)


def test_a_mean_that_is_not_that_of_the_accuracies_is_refused(content):
    content["accuracy"]["mean"] += 1e-6
    with pytest.raises(UserError, match=r"its mean .* is not that of its per-episode accuracies"):
        reading(content)


@pytest.mark.parametrize("values", [[0.5, 1.5], [-0.5, 0.5]])
def test_accuracies_that_are_not_fractions_are_refused(content, values):
    content["n_episodes"] = 2
    content["accuracy"] |= {"mean": 0.5, "per_episode": encode(np.array(values))}
    with pytest.raises(UserError, match="not a fraction"):
        reading(content)


def test_no_episodes_at_all_are_refused(content):
    content["n_episodes"] = 0
    content["accuracy"]["per_episode"] = encode(np.array([]))
    with pytest.raises(UserError, match="0 per-episode accuracies for 0 episodes"):
        reading(content)


def test_codes_that_do_not_decode_are_refused(content):
    codes = content["accuracy"]["per_episode"]["codes"]
    content["accuracy"]["per_episode"]["codes"] = codes[: len(codes) // 8 * 4]
    with pytest.raises(UserError, match="do not decode"):
        reading(content)


def test_a_newer_schema_asks_for_an_upgrade(content):
    with pytest.raises(UserError, match="schema version 99, newer than this fewbench knows; upgrade fewbench"):
        reading({**content, "schema_version": 99})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(UserError, match=r"run\.json is a damaged record"):
        RunRecord.from_json(text, Path("run.json"))


def test_a_file_that_is_absent_or_no_text_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read record .*absent\.json: No such file"):
        load_record(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"binary\.json is a damaged record: it is not UTF-8"):
        load_record(tmp_path / "binary.json")


def test_a_record_cannot_be_made_wrong(record):
    with pytest.raises(ValueError, match="10 per-episode accuracies for 11 episodes"):
        replace(record, n_episodes=11)


def test_records_are_found_in_order_of_their_relative_paths_and_bad_ones_are_named(record, tmp_path):
    for name in ("b/2.json", "a/x/3.json", "b/1.json"):
        write_record(record, tmp_path / name)
    (tmp_path / "a" / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "b" / "notes.txt").write_text("no record", encoding="utf-8")
    records, problems = load_records(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path, _ in records] == ["a/x/3.json", "b/1.json", "b/2.json"]
    assert [path for path, _ in problems] == [tmp_path / "a" / "broken.json"]
    assert str(tmp_path / "a" / "broken.json") in problems[0][1]


def test_a_folder_that_is_not_there_has_no_records(tmp_path):
    assert load_records(tmp_path / "absent") == ([], [])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataset", "cifar-fs"),
        ("dataset_version", "2"),
        ("dataset_parameters", {"size": 84}),
        ("fingerprint", "0" * 64),
        ("split", "val"),
        ("sampler", "meta-dataset"),
        ("sampler_parameters", {"alpha": 0.5}),
        ("ways", 20),
        ("shots", None),
        ("queries", 10),
        ("seed", 1),
    ],
)
def test_task_keys_differ_where_the_task_does(record, key, value):
    other = replace(record, task={**record.task, key: value})
    before, after = record.task_key()._asdict(), other.task_key()._asdict()
    assert [name for name in before if before[name] != after[name]] == [key]


def test_task_keys_tell_corrupted_images_apart(record):
    section = {"name": "noise", "severity": 3, "version": 1, "clean_fingerprint": "0" * 64}
    keys = {replace(record, task={**record.task, "corruption": {**section, "severity": s}}).task_key() for s in (3, 4)}
    assert {key.corruption for key in keys | {record.task_key()}} == {None, "noise 3", "noise 4"}
    with pytest.raises(ValueError, match=r"^task\.corruption\.version is missing$"):
        replace(record, task={**record.task, "corruption": {"name": "noise", "severity": 3}})


def test_task_keys_do_not_see_how_many_episodes_or_which_method(record):
    shorter = replace(record, n_episodes=2, accuracy=accuracy_section(FROZEN_ACCURACIES[:2]))
    other = replace(shorter, method={**record.method, "name": "maml"}, task={**record.task, "episodes_sha256": "1" * 64})
    assert len({record.task_key(): 1, other.task_key(): 2}) == 1


def test_record_path_is_made_of_the_configuration():
    digest = config_digest({"b": 1, "a": "é"})
    assert digest == config_digest({"a": "é", "b": 1}) != config_digest({"a": "é", "b": 2})
    slug = task_slug("test", "uniform", 5, 1, 15)
    assert slug == "test-5way-1shot-15query-uniform"
    path = record_path(
        Path("results"), dataset="omniglot", task_slug=slug, method="protonet", backbone="conv4", config_sha256=digest
    )
    assert path == Path("results/records/omniglot/test-5way-1shot-15query-uniform") / f"protonet-conv4-{digest[:8]}.json"


def test_config_digest_is_sha256_of_canonical_json():
    # printf '{"a":1,"b":[true]}' | sha256sum
    assert config_digest({"b": [True], "a": 1}) == "90eddf64b875cb5fa184bb12503cc7309b6ce21b175521a80bd8d83082bae604"


def test_task_slug_leaves_out_what_varies():
    assert task_slug("val", "meta-dataset", None, None, None) == "val-meta-dataset"
    assert task_slug("test", "uniform", 5, None, None, Corruption("jpeg", 2)) == "test-5way-uniform-jpeg-2"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("protonet", "protonet"),
        ("sklearn:linear_model.LogisticRegression", "sklearn-linear_model.LogisticRegression"),
        ("path/to/file.py:Class", "path-to-file.py-Class"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "unnamed"),
        ("C:\\new folder\\é.py", "C-new-folder-.py"),
        ("x" * 300, "x" * 60),
    ],
)
def test_names_become_safe_parts_of_a_path(name, safe):
    assert file_safe(name) == safe


def test_importing_records_loads_nothing_heavy():
    code = (
        "import sys, fewbench.benchmark.records, fewbench.benchmark.reporting.leaderboard\n"
        "print([name for name in ('torch', 'scipy', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
