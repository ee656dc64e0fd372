import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from socket import gethostname

import pytest

from fewbench.benchmark import RunConfig
from fewbench.benchmark.backbones.weights.find import shipped_weights
from fewbench.benchmark.evaluation.runner import run
from fewbench.benchmark.sweep import sharded
from fewbench.benchmark.sweep.driver import carry_out
from fewbench.core.errors import Interrupted, UserError
from fewbench.core.progress import SILENT

ENCODING = [("encoding tiny test", 360, "images")] * 2  # a machine that lacks the images answers so, and is sent them
ONLY_HERE = """
from pathlib import Path
from fewbench.methods.metric.protonet import ProtoNet

TEXT = Path(__file__).with_name("beside.txt").read_text()


class Mine(ProtoNet):
    pass
"""


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory) -> Iterator[None]:
    """A cache of this file's own: its tests clear it, while those of other processes use the shared one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FEWBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def short_tasks(monkeypatch: pytest.MonkeyPatch):
    """Tasks of a few chunks, so that a run of 340 episodes has several."""
    monkeypatch.setattr(sharded, "FIRST", 64)
    monkeypatch.setattr(sharded, "LEAST", 0.0)
    monkeypatch.setattr(sharded, "MOST", 1e-9)
    monkeypatch.setattr(sharded, "GRID", 128)


@pytest.fixture
def grid(config: RunConfig, plugins: Path) -> list[RunConfig]:
    """Runs of all kinds: several methods of one table, choices on val, a mean of train, images, predictions, corruption."""
    own = f"{plugins / 'methods.py'}:OnImages"
    return [
        config,
        replace(config, method="simpleshot", shots=3),
        replace(config, method="linear-probe", episodes=40, settings={}),
        replace(config, method=own, episodes=30),
        replace(config, method="ridge", keep_predictions=True),
        replace(config, corruption="noise", severity=2),
        replace(config, bootstrap=True, episodes=300),
        replace(config, seed=7, limit=100),
    ]


def placed(configs: list[RunConfig], results: Path) -> list[RunConfig]:
    return [replace(one, results=results) for one in configs]


def test_the_records_are_those_without_a_cluster(grid, here, content, tmp_path):
    for one in placed(grid, tmp_path / "a"):
        run(one, SILENT)
    cluster = here()
    outcomes, error = carry_out(placed(grid, tmp_path / "b"), [str(n) for n in range(len(grid))], cluster, SILENT)
    assert error is None and len(outcomes) == len(grid)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    kept = [sorted(path.name for path in (tmp_path / name).rglob("*.npz")) for name in "ab"]
    assert kept[0] == kept[1] and len(kept[0]) == 1
    assert cluster.done["evaluate"] > 2 * len(grid)
    assert cluster.done["encode"] == 0  # the runs of before have encoded


def test_every_image_is_encoded_once_for_all_runs_on_all_machines(config, here, content, tmp_path):
    runs = [config, replace(config, method="ridge"), replace(config, method="ridge", shots=3)]
    for one in placed(runs, tmp_path / "a"):
        run(one, SILENT)
    clear()
    cluster = here(cache=tmp_path / "far")
    _, error = carry_out(placed(runs, tmp_path / "b"), ["1", "2", "3"], cluster, lines := Said())
    assert lines.bars[0] == ("3 runs on 2 workers", 1020, "episodes")
    assert sorted(lines.bars[1:]) == [("1", 340, ""), ("2", 340, ""), ("3", 340, ""), *ENCODING]
    assert error is None and cluster.done["encode"] == 2  # which lacked the images, and was sent them
    assert cluster.done["digests"] == 2  # of two tasks
    assert content(tmp_path / "a") == content(tmp_path / "b")
    tables = [sorted(path.name for path in (folder / "features").iterdir()) for folder in (cache(), tmp_path / "far")]
    assert tables[0] == tables[1] and len(tables[0]) == 1  # this machine has the features now, too
    shutil.rmtree(tmp_path / "far")
    again = here(cache=tmp_path / "far")
    carry_out([replace(one, overwrite=True) for one in placed(runs, tmp_path / "b")], ["1", "2", "3"], again, SILENT)
    assert again.done["encode"] == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_files_that_the_user_named_travel_to_machines_that_lack_them(config, here, content, plugins, tmp_path, tiny):
    method, weights, names = tmp_path / "mine.py", tmp_path / "clip.safetensors", tmp_path / "names.csv"
    method.write_bytes((plugins / "methods.py").read_bytes())
    weights.write_bytes(shipped_weights()["clip-tiny-trifeature"].read_bytes())
    names.write_text("class_id,name\n" + "".join(f"test-{i},red {i}\n" for i in range(12)), encoding="utf-8")
    text = {"method": "clip-zero-shot", "backbone": "clip-tiny", "weights": str(weights), "class_names": names}
    runs = [replace(config, method=f"{method}:NearestMean"), replace(config, **text, episodes=20)]
    for one in placed(runs, tmp_path / "a"):
        run(one, SILENT)
    cluster = here(cache=tmp_path / "far")
    cluster.hidden = [method, weights, names]
    _, error = carry_out(placed(runs, tmp_path / "b"), ["1", "2"], cluster, SILENT)
    assert error is None and content(tmp_path / "a") == content(tmp_path / "b")
    sent = sorted(path.relative_to(tmp_path / "far" / "sent") for path in (tmp_path / "far" / "sent").rglob("*.*"))
    digests = {sha256(path.read_bytes()).hexdigest(): path.name for path in (weights, names)}
    assert {path.parts[0]: path.name for path in sent} == digests  # a plug-in is imported from its content


def test_a_plug_in_that_workers_cannot_import_fails_its_run(config, here, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(ONLY_HERE, encoding="utf-8")
    cluster = here()
    cluster.hidden = [file, tmp_path / "beside.txt"]
    cluster.hidden[1].touch()
    _, error = carry_out([replace(config, method=f"{file}:Mine")], [], cluster, SILENT)
    assert str(error).startswith(f"plug-in {file} does not import on {gethostname()}: FileNotFoundError: ")


def test_a_run_that_fails_is_named_and_the_others_are_done(config, here, plugins, tmp_path):
    bad = replace(config, method=f"{plugins / 'methods.py'}:Fails")
    outcomes, error = carry_out([config, bad, replace(config, shots=2)], ["1", "2", "3"], here(), lines := Said())
    assert [outcome.record.task.shots for outcome in outcomes] == [1, 2]
    assert str(error) == "1 of 3 runs failed"
    assert any(line.startswith("failed: 2: method methods.py:Fails failed in episodes 0 to") for line in lines.said)
    _, error = carry_out([replace(bad, shots=4)], [], here(), SILENT)
    assert isinstance(error, UserError) and str(error).startswith("method methods.py:Fails failed")


def test_an_interrupted_sweep_goes_on_with_and_without_a_cluster(config, here, content, plugins, tmp_path):
    small = replace(config, method=f"{plugins / 'methods.py'}:Slow")  # in chunks of 64 episodes
    runs = [small, replace(config, method="ridge"), replace(small, keep_predictions=True, seed=1), replace(small, seed=2)]
    for one in placed(runs, tmp_path / "a"):
        run(one, SILENT)
    for results, go_on in (("b", True), ("c", False)):
        cluster = here()
        evaluated = 0

        def stop(name: str) -> None:
            nonlocal evaluated
            evaluated += name == "evaluate"
            if evaluated == 10:
                raise KeyboardInterrupt

        cluster.before = stop
        configs = placed(runs, tmp_path / results)
        _, error = carry_out(configs, list("1234"), cluster, SILENT)
        assert isinstance(error, Interrupted) and "the same command goes on from there" in str(error)
        partial = list((tmp_path / results).rglob("*.partial.json"))
        assert partial and all(json.loads(path.read_text())["n_episodes"] > 0 for path in partial)
        if go_on:
            _, error = carry_out(configs, list("1234"), here(), SILENT)
            assert error is None
        else:
            for one in configs:
                run(one, SILENT)
        assert content(tmp_path / "a") == content(tmp_path / results)


def test_what_an_interrupted_run_has_left_is_gone_on_with(config, here, content, tmp_path):
    run(replace(config, results=tmp_path / "a"), SILENT)
    run(replace(config, results=tmp_path / "b", limit=130), SILENT)
    cluster = here()
    carry_out([replace(config, results=tmp_path / "b")], [], cluster, SILENT)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_finished_run_is_not_repeated_and_one_record_is_made_once(config, here):
    run(config, SILENT)
    other = replace(config, shots=2)
    outcomes, error = carry_out([config, other, other], ["1", "2", "3"], here(), SILENT)
    assert error is None
    assert [outcome.reused for outcome in outcomes] == [True, False, True]


class Said:
    """Keeps what is said."""

    verbose = False

    def __init__(self) -> None:
        self.said: list[str] = []
        self.bars: list[tuple[str, int, str]] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def track(self, description: str, total: int, unit: str = ""):
        self.bars.append((description, total, unit))
        return SILENT.track(description, total)


def cache() -> Path:
    from fewbench.core.files import cache_root

    return cache_root()


def clear() -> None:
    shutil.rmtree(cache() / "features")
