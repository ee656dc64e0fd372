import csv
import json
import sys
from pathlib import Path

import pytest

from fewbench.benchmark.commands.main import main


@pytest.fixture
def bench(monkeypatch, capsys, tmp_path):
    """Run `bench …` as typed in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return run


def test_the_documented_testbed_of_classes_only(bench):
    options = ("--dataset", "tiered-imagenet")
    code, out, _ = bench("testbed", "make", "tiered.csv", *options, "--classes-only", "--tasks", "1000")
    assert code == 0 and out.split() == ["tiered.csv"]
    code, out, _ = bench("testbed", "show", "tiered.csv", *options, "--json")
    described = json.loads(out)
    assert code == 0
    assert described["tasks"] == 1000 and described["ways"] == 5
    assert sum(described["occurrences"].values()) == 5000
    assert 50 < described["coarsity"]["mean"] < 60
    code, out, _ = bench("testbed", "show", "tiered.csv", *options)
    assert code == 0 and "coarsity" in out and "1000" in out


def test_the_documented_distances(bench):
    code, out, _ = bench("data", "distances", "mini-imagenet", "--split", "test", "--output", "distances.csv")
    assert code == 0 and out.split() == ["distances.csv"]
    rows = list(csv.reader(Path("distances.csv").open(encoding="utf-8")))
    assert len(rows) == 21 and rows[0][1:] == [row[0] for row in rows[1:]]
    assert max(float(cell) for row in rows[1:] for cell in row[1:]) == pytest.approx(5.99, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("make", "x.csv", "--dataset", "tiered-imagenet", "--classes-only", "--alpha", "-1"), "--alpha -1"),
        (("make", "x.csv", "--dataset", "cub-200", "--classes-only"), "cub-200 has no taxonomy"),
        (("make", "x.csv", "--dataset", "tiered-imagenet", "--classes-only", "--ways", "200"), "200"),
        (("show", "gone.csv",), "gone.csv"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_leave_nothing(bench, tmp_path, arguments, says):
    code, out, err = bench("testbed", *arguments)
    assert code in (1, 2) and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and says in err
    assert list(tmp_path.iterdir()) == []
