"""The README's examples, run as they stand but with fewer episodes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from fewbench.benchmark.records.store import load_record

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = [dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)]
COMMANDS = re.findall(r"`(bench [^`]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))


def command(start: str) -> list[str]:
    """The arguments of the one command between backticks that starts so."""
    (found,) = (text for text in COMMANDS if text.startswith(start))
    return shlex.split(found)[1:]


def test_the_readme_has_the_examples():
    assert len(BLOCKS) == 2


def test_the_three_lines_of_python(tmp_path: Path):
    (example,) = (block for block in BLOCKS if "RunConfig" in block)
    few, replaced = re.subn(r"episodes=\d+", "episodes=100", example)
    assert replaced == 1
    done = subprocess.run([sys.executable, "-c", few], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d\d\.\d\d ± \d\.\d\d %\n", done.stdout)
    (path,) = tmp_path.rglob("*.json")
    record = load_record(path)
    assert done.stdout == f"{100 * record.mean:.2f} ± {100 * record.half_width:.2f} %\n"  # type: ignore[operator]
    assert 0.6 < record.mean < 0.9


def test_a_method_of_ones_own_and_one_of_scikit_learn(bench_many, tmp_path: Path):
    pytest.importorskip("sklearn", reason="the README installs the extra sklearn for its example")
    (example,) = (block for block in BLOCKS if "class NearestShot" in block)
    (tmp_path / "nearest.py").write_text(example, encoding="utf-8")
    own, turned, shown, sklearn = bench_many(
        [
            ([*command("bench run --method nearest.py:NearestShot"), "--episodes", "100"], tmp_path),
            (["run", "--method", "nearest.py:NearestShot", "--set", "power=1", "--episodes", "100"], tmp_path),
            (command("bench show nearest.py:NearestShot"), tmp_path),
            ([*command("bench run --method sklearn:"), "--episodes", "20"], tmp_path),
        ]
    )
    assert own.code == turned.code == shown.code == sklearn.code == 0, own.err + turned.err + shown.err + sklearn.err
    record = load_record(tmp_path / own.out.splitlines()[-1])
    assert record.method.name == "nearest.py:NearestShot" and record.task.shots == 5 and record.mean > 0.5
    other = load_record(tmp_path / turned.out.splitlines()[-1])
    assert other.method.parameters == {"power": 1.0} and other.mean != record.mean  # the parameter does change something
    assert re.search(r"power +float +at least 1 +2\.0 +2 is the Euclidean distance", shown.out)
    record = load_record(tmp_path / sklearn.out.splitlines()[-1])
    assert record.method.name == "sklearn:linear_model.LogisticRegression"
    assert record.method.parameters == {"C": 0.5} and record.mean > 0.5
