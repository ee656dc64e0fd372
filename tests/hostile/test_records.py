"""Damaged records are left out of a board with one line each, and what is at a run's place is not taken for its record."""

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewbench.benchmark.evaluation import evaluate
from fewbench.benchmark.records.codec import encode
from fewbench.benchmark.records.record import RunRecord, accuracy_section
from fewbench.benchmark.records.store import load_record, parse_record
from fewbench.benchmark.reporting.board import boards_of
from fewbench.benchmark.reporting.formats import markdown_of
from fewbench.benchmark.reporting.quotes import quotes_of
from fewbench.core.decoding import encode as plain
from fewbench.core.errors import UserError, one_line

FROZEN = Path(__file__).parents[1] / "benchmark" / "data" / "record-schema-1.json"
ACCURACIES = np.array([0.4, 0.6, 0.8, 0.2, 1.0, 0.6])


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    """The content of a record that has every section."""
    content = json.loads(FROZEN.read_text(encoding="utf-8"))
    content["accuracy"] = plain(accuracy_section(ACCURACIES, 0.95, 0, 100, without_replacement=ACCURACIES[:4]))
    content["n_episodes"] = len(ACCURACIES)
    content["method"] |= {"parameters": {}, "changed": [], "learned_sha256": "a" * 64, "code": "version 1"}
    content["method"]["text"] = {"names_sha256": "b" * 64, "prompts": "single", "prompts_sha256": "c" * 64}
    content["method"]["chosen"] = {"values": {}, "split": "val", "episodes": 600, "tried": [[1.0, 0.5]]}
    content["backbone"] |= {
        "parameters": {},
        "network_parameters": 112_832,
        "precision": "fp32",
        "compile": False,
        "code": "version 1",
    }
    content["backbone"]["preprocess"] = {"channels": 1, "size": 28, "mean": [0.5], "std": [0.5]}
    content["backbone"]["pretraining"] |= {"steps": 9, "started_from": deepcopy(content["backbone"]["pretraining"])}
    content["timing"]["encoding"] = {"images": 9, "seconds": 1.5, "device": "cpu", "device_name": "x", "precision": "fp32"}
    content["timing"]["disjoint_seconds"] = 0.5
    return content


def bomb(n: int = 2**26) -> dict[str, Any]:
    """Accuracies of 6 episodes, as they say, whose codes would unpack to so many bytes."""
    codes = base64.b64encode(zlib.compress(bytes(n), 9)).decode()
    return {**plain(encode(ACCURACIES)), "codes": codes}


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


CASES: dict[str, tuple[str, Any]] = {
    "an edited half-width": ("accuracy.half_width", 0.5),
    "a negative half-width": ("accuracy.half_width", -0.01),
    "no half-width": ("accuracy.half_width", float("nan")),
    "another level": ("accuracy.level", 0.9),
    "an edited mean": ("accuracy.mean", 0.9),
    "an edited mean without replacement": ("accuracy.without_replacement.mean", 0.9),
    "fewer than no episodes without replacement": ("accuracy.without_replacement.episodes", -3),
    "a bootstrap of other accuracies": ("accuracy.bootstrap.low", 0.01),
    "episodes that are not there": ("n_episodes", 7),
    "accuracies that unpack to more": ("accuracy.per_episode", bomb()),
    "a changed parameter that is none": ("method.changed", ["missing"]),
    "text for a list": ("method.changed", "distance"),
    "null for a list": ("method.changed", None),
    "a parameter that is no number": ("backbone.parameters", {"width": float("nan")}),
    "a parameter that nothing can hold": ("backbone.parameters", {"width": json.loads("1e999")}),
    "a lone surrogate": ("method.name", "\ud800"),
    "a lone surrogate in what is not read": ("environment.cpu", "\udfff"),
    "deep content": ("method.parameters", {"x": deep(90)}),
    "content too deep for the reader": ("method.parameters", {"x": deep(900)}),
    "deep pretraining": ("backbone.pretraining", None),
    "a severity that there is not": (
        "task.corruption",
        {"name": "noise", "severity": 9, "version": 1, "clean_fingerprint": "0"},
    ),
    "another status": ("status", "done"),
    "a blank name": ("method.name", " "),
    "a name that no table holds": ("backbone.name", "x" * 10_000),
    "no dataset": ("task.dataset", ""),
    "no fingerprint": ("task.fingerprint", ""),
    "a hash that is none": ("config_sha256", "zz"),
    "a section that is unknown": ("more", {}),
}


def put(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The content with a value at a dotted place."""
    changed = deepcopy(content)
    *sections, last = place.split(".")
    inner = changed
    for section in sections:
        inner = inner[section]
    inner[last] = value
    return changed


def text_of(content: dict[str, Any], case: str) -> str:
    place, value = CASES[case]
    if case == "deep pretraining":
        value = {"dataset": "x", "recipe": "x", "external": False}
        for _ in range(200):
            value = {**value, "steps": 1, "started_from": value}
            value = {name: value[name] for name in ("dataset", "recipe", "external", "steps", "started_from")}
    return json.dumps(put(content, place, value))


@pytest.fixture
def folder(tmp_path: Path, good: dict[str, Any]) -> Path:
    """A results folder with a sound record."""
    (tmp_path / "R" / "records" / "t").mkdir(parents=True)
    (tmp_path / "R" / "records" / "t" / "good.json").write_text(json.dumps(good), encoding="utf-8")
    return tmp_path / "R"


def board(bench: Callable, folder: Path) -> tuple[str, list[str]]:
    """The board of a results folder, and the warnings."""
    done = bench("leaderboard", "--results", folder, "--output", folder / "lb.md")
    assert done.code == 0
    return (folder / "lb.md").read_text(encoding="utf-8"), done.error.splitlines()


def test_damaged_records_are_left_out_with_a_line_each(bench, folder: Path, good: dict[str, Any]):
    alone, none = board(bench, folder)
    assert none == [] and "protonet" in alone
    for number, case in enumerate(CASES):
        (folder / "records" / "t" / f"bad{number}.json").write_text(text_of(good, case), encoding="utf-8")
    together, warnings = board(bench, folder)
    assert together == alone and len(warnings) == len(CASES)
    for number, case in enumerate(CASES):
        (line,) = [line for line in warnings if f"bad{number}.json " in line]
        assert line.startswith("warning: ") and "is a damaged record: " in line and line.isprintable(), case


def test_a_key_twice_is_damage(bench, folder: Path, good: dict[str, Any]):
    (folder / "records" / "t" / "x.json").write_text(
        json.dumps(good).replace('"n_episodes"', '"n_episodes": 5, "n_episodes"', 1)
    )
    (line,) = board(bench, folder)[1]
    assert "it has the key 'n_episodes' twice" in line


@pytest.mark.parametrize("command", [("show",), ("compare", "{good}"), ("plot", "scaling")])
def test_commands_that_read_a_damaged_record_name_it(bench, folder: Path, good: dict[str, Any], command: tuple[str, ...]):
    bad = folder / "records" / "t" / "bad.json"
    arguments = [word.format(good=bad.with_name("good.json")) for word in command]
    for case in ("content too deep for the reader", "a lone surrogate", "an edited half-width"):
        bad.write_text(text_of(good, case), encoding="utf-8")
        assert "bad.json is a damaged record: " in bench(*arguments, bad).message


def test_a_newline_in_a_files_name_makes_no_second_line(bench, folder: Path):
    (folder / "records" / "t" / "a\nb.json").write_text("{}", encoding="utf-8")
    (line,) = board(bench, folder)[1]
    assert r"a\nb.json is a damaged record" in line


@pytest.mark.parametrize("results", ["absent", "R/records/t/good.json"])
def test_a_results_folder_that_is_none_leaves_the_board_alone(bench, folder: Path, results: str):
    before, _ = board(bench, folder)
    for command in (("leaderboard", "--output", folder / "lb.md"), ("list", "results")):
        assert "cannot read records" in bench(*command, "--results", folder.parent / results).message
    assert (folder / "lb.md").read_text(encoding="utf-8") == before


@pytest.fixture
def run(bench, tiny: str, tiny_weights: Path, tmp_path: Path) -> Callable:
    """Run 70 episodes with more arguments."""
    options = ("--dataset", tiny, "--weights", tiny_weights, "--queries", 3, "--device", "cpu", "--episodes", 70)
    return lambda *more: bench("run", *options, "--output", tmp_path, *more)


def test_what_is_at_a_runs_place_and_is_not_its_record_is_left_alone(run, good: dict[str, Any]):
    done = run()
    path = Path(done.output.splitlines()[-1])
    own, other = path.read_bytes(), json.dumps(good).encode()
    newer = own.replace(b'"schema_version": 1', b'"schema_version": 2')
    for place in (path, path.with_suffix(".partial.json")):
        for content, said in (
            (other, "of another run (protonet, conv4 (weights=trifeature-supervised); omniglot, 15 queries)"),
            (newer, "newer than this"),
        ):
            path.unlink(missing_ok=True)
            place.write_bytes(content)
            assert said in run().message
            assert place != path or said in run("--dry-run").message
            assert place.read_bytes() == content
        place.unlink()
    path.write_bytes(own)
    assert run().code == 0 and path.read_bytes() == own


def test_a_partial_record_at_a_finished_runs_place_is_finished(run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluate, "CHUNK", 64)  # whole chunks are kept
    done = run()
    path = Path(done.output.splitlines()[-1])
    finished = load_record(path)
    run("--limit", 64, "--overwrite")
    path.with_suffix(".partial.json").replace(path)
    assert load_record(path).status == "partial"
    done = run()
    assert done.code == 0 and "resuming after 64 of 70" in done.error
    record = load_record(path)
    assert record.complete and (record.accuracies == finished.accuracies).all()


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in JSON content, as keys and numbers."""
    if path:
        yield path
    inner = content.items() if isinstance(content, dict) else enumerate(content[:2]) if isinstance(content, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


REMOVED = object()
UNWRITABLE = ("\ud800", float("nan"), float("inf"))
NUMBERS = (-1, -0.5, 0, 2, 0.25, 10**12, 10**400, 1e300, float("nan"), float("inf"))
HARM = (REMOVED, None, "x", "", "\ud800", [], {}, True, *NUMBERS)
# What is another run or another result, and not damage.
POSSIBLE = {
    ("task", "dataset_parameters"): ({},),
    ("task", "ways"): (None, 2),
    ("task", "shots"): (None, 2),
    ("task", "queries"): (None, 2),
    ("task", "seed"): (0, 2, 10**12),
    ("backbone", "pretraining"): (None,),
    ("accuracy", "without_replacement"): (None,),
    ("timing", "classify_seconds"): (0, 2, 0.25),
    ("method", "transductive"): (True,),
    ("method", "text"): (REMOVED, None),
    ("method", "uses_class_names"): (True,),
    ("backbone", "compile"): (True,),
    ("backbone", "pretraining", "external"): (True,),
    ("backbone", "pretraining", "steps"): (REMOVED, None),
    ("backbone", "pretraining", "started_from"): (REMOVED, None),
}


def mutants(content: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any, dict[str, Any]]]:
    """The content with each place removed or holding something else; a text in the place of another is another name."""
    for path in places(content):
        before: Any = content
        for key in path:
            before = before[key]
        parameter = any(str(key).endswith("parameters") for key in path[:-1])  # which may have any value that JSON can hold
        for harm in UNWRITABLE if parameter else HARM:
            text = isinstance(before, str) and isinstance(harm, str) and harm.isascii()
            if text or any(harm is one or (harm == one and type(harm) is type(one)) for one in POSSIBLE.get(path, ())):
                continue
            changed = deepcopy(content)
            inner: Any = changed
            for key in path[:-1]:
                inner = inner[key]
            if harm is REMOVED:
                del inner[path[-1]]
            else:
                inner[path[-1]] = harm
            yield path, harm, changed


def tables_of(*records: RunRecord) -> list[list[str]]:
    boards = boards_of([(Path(f"{i}.json"), record) for i, record in enumerate(records)])
    return [markdown_of(one, quotes) for one, quotes in zip(boards, quotes_of(boards, []), strict=True)]


def test_a_record_with_anything_changed_is_damaged_or_the_same_on_the_board(good: dict[str, Any]):
    frozen = load_record(FROZEN)
    expected, tried, left_out = tables_of(frozen, parse_record(json.dumps(good), Path("good.json"))), 0, 0
    for path, harm, content in mutants(good):
        tried += 1
        try:
            record = parse_record(json.dumps(content), Path("bad.json"))
        except UserError as error:
            assert str(error).startswith("bad.json is ") and one_line(str(error)).isprintable()
            left_out += 1
            continue
        assert tables_of(frozen, record) == expected, (path, harm)
        record.to_json().encode()
    assert tried > 1000 and left_out > tried / 2
