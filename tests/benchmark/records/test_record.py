import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark.records.codec import encode
from fewbench.benchmark.records.record import accuracy_section
from fewbench.benchmark.records.sections import Bootstrap
from fewbench.benchmark.records.statistics import bootstrap_interval, t_interval
from fewbench.benchmark.records.store import load_record, parse_record, write_record
from fewbench.core.decoding import encode as plain
from fewbench.core.errors import UserError

FROZEN_ACCURACIES = np.array([52, 44, 61, 75, 0, 52, 33, 48, 57, 44]) / 75


def reading(content):
    return parse_record(json.dumps(content), Path("some/run.json"))


def test_the_frozen_record_of_schema_1_still_reads(record):
    assert record.accuracies.tobytes() == FROZEN_ACCURACIES.tobytes()
    assert record.mean == pytest.approx(466 / 750)
    # s² = (25268 − 466²/10)/9 in 75ths squared, t(0.975, 9) = 2.262157
    assert record.half_width == pytest.approx(2.262157 * (3552.4 / 9 / 10) ** 0.5 / 75, rel=1e-6)
    assert (record.complete, record.n_episodes, record.method.name, record.backbone.name) == (True, 10, "protonet", "conv4")
    assert record.content["environment"]["cpu"] == "größer als ×86"
    assert record.accuracy.without_replacement.episodes == 3


def test_the_frozen_record_is_written_as_it_was(record, content, frozen):
    assert json.loads(record.to_json()) == content
    assert record.to_json().encode("utf-8") == frozen.read_bytes()


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
    assert (section.mean, section.half_width, section.level) == (interval.mean, interval.half_width, 0.9)
    assert section.bootstrap == Bootstrap(bootstrap.low, bootstrap.high, 300)
    found = section.without_replacement
    assert found is not None and (found.mean, found.half_width, found.episodes) == (disjoint.mean, disjoint.half_width, 3)


def test_a_single_episode_has_no_half_width_and_can_be_recorded(record, altered):
    single = altered(record, n_episodes=1, accuracy=accuracy_section(np.array([0.25])))
    assert single.half_width is None
    assert json.loads(single.to_json())["accuracy"]["half_width"] is None
    assert parse_record(single.to_json(), Path("x")) == single


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "done"}, "status is not one of complete, partial"),
        ({"n_episodes": 9}, "it has 10 per-episode values for 9 episodes"),
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
    with pytest.raises(UserError, match=r"accuracy\.mean is .*, and .* by its per-episode accuracies"):
        reading(content)


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("task", "seed", "0", "task.seed is not a whole number"),
        ("task", "seed", True, "task.seed is not a whole number"),
        ("task", "seed", -1, "task.seed is not from 0"),
        ("task", "ways", 2.5, "task.ways is not a whole number"),
        ("task", "shots", 10**12, "task.shots is 1000000000000, not from 1 to"),
        ("method", "transductive", 0, "method.transductive is not true or false"),
        ("method", "name", None, "method.name is not text"),
        ("method", "name", "\ud800", "method.name is not Unicode text"),
        ("method", "changed", None, "method.changed is not a list"),
        ("method", "changed", "distance", "method.changed is not a list"),
        ("method", "changed", ["missing"], "method.changed names 'missing', which is no parameter"),
        ("method", "parameters", {"temperature": float("nan")}, "method.parameters.temperature is not a finite number"),
        ("method", "unknown", float("inf"), "method.unknown is not a finite number"),
        ("accuracy", "mean", "0.5", "accuracy.mean is not a number"),
        ("accuracy", "level", 1.0, "accuracy.level is 1, not between 0 and 1"),
        ("accuracy", "half_width", 0.5, "accuracy.half_width is 0.5, and 0.189"),
        ("accuracy", "half_width", None, "accuracy.half_width is None, and 0.189"),
        ("accuracy", "bootstrap", {"low": 0.1, "high": 0.7, "resamples": 10}, "accuracy.bootstrap from 0.1 to 0.7 is not of"),
        ("accuracy", "bootstrap", {"low": 0.7, "high": 0.5, "resamples": 10}, "accuracy.bootstrap from 0.7 to 0.5 is not of"),
        ("accuracy", "bootstrap", {"low": None, "high": None, "resamples": 10}, "accuracy.bootstrap has an end too many"),
        ("backbone", "pretraining", [], "backbone.pretraining is not a section"),
        ("backbone", "pretraining", {"dataset": "omniglot"}, "backbone.pretraining.recipe is missing"),
        ("backbone", "network_parameters", "many", "backbone.network_parameters is not a whole number"),
        ("timing", "classify_seconds", -0.5, "timing.classify_seconds is -0.5, not from 0"),
        ("timing", "encoding", {}, "timing.encoding.images is missing"),
    ],
)
def test_the_first_misfit_is_named(content, section, key, value, expected):
    content[section][key] = value
    with pytest.raises(UserError) as caught:
        reading(content)
    assert f"damaged record: {expected}" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("task", "ways", None),
        ("method", "anything", {"new": [1, None]}),
        ("backbone", "pretraining", None),
        ("backbone", "network_parameters", 112_832),
        ("timing", "encoding", None),
        ("accuracy", "bootstrap", None),
    ],
)
def test_what_may_be_so_is_kept(content, section, key, value):
    content[section][key] = value
    assert json.loads(reading(content).to_json()) == content


@pytest.mark.parametrize(("key", "value"), [("mean", 0.7), ("half_width", 0.1), ("half_width", None), ("episodes", 4)])
def test_what_is_said_of_episodes_without_replacement_is_theirs(content, key, value):
    content["accuracy"]["without_replacement"][key] = value
    with pytest.raises(UserError, match="is a damaged record: "):
        reading(content)


def test_accuracies_without_replacement_have_to_be_there(content):
    del content["accuracy"]["without_replacement"]["accuracies"]
    with pytest.raises(UserError, match=r"damaged record: accuracy\.without_replacement\.accuracies is missing"):
        reading({**content, "status": "partial"})


@pytest.mark.parametrize(("key", "value"), [("mean", 3.0), ("quartiles", [1.0, 2.0, 4.0]), ("quartiles", [1.0])])
def test_a_summary_of_coarsities_is_theirs(make_record, coarse, key, value):
    task = coarse([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=rf"^task\.coarsity\.{key} "):
        make_record([0.5, 0.6, 0.7], task={**task, "coarsity": {**task["coarsity"], key: value}})


@pytest.mark.parametrize("values", [[0.5, 1.5], [-0.5, 0.5]])
def test_accuracies_that_are_not_fractions_are_refused(content, values):
    content["n_episodes"] = 2
    content["accuracy"] |= {"mean": 0.5, "per_episode": plain(encode(np.array(values)))}
    with pytest.raises(UserError, match="not a fraction"):
        reading(content)


def test_no_episodes_at_all_are_refused(content):
    content["n_episodes"] = 0
    content["accuracy"]["per_episode"] = plain(encode(np.array([])))
    with pytest.raises(UserError, match="n_episodes is 0, not from 1"):
        reading(content)


def test_codes_that_do_not_decode_are_refused(content):
    codes = content["accuracy"]["per_episode"]["codes"]
    content["accuracy"]["per_episode"]["codes"] = codes[: len(codes) // 8 * 4]
    with pytest.raises(UserError, match="per-episode values are not 10"):
        reading(content)


def test_a_record_cannot_be_made_wrong(record, altered):
    with pytest.raises(ValueError, match="10 per-episode values for 11 episodes"):
        altered(record, n_episodes=11)


def test_importing_records_loads_nothing_heavy():
    code = (
        "import sys, fewbench.benchmark.records, fewbench.benchmark.reporting.leaderboard\n"
        "print([name for name in ('torch', 'scipy', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
