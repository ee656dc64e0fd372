"""A local Ray: the same records with one worker, with two of which one is killed, and without Ray; so for pipelines."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import torch

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation.runner import run
from fewbench.benchmark.pipeline.reading import read_pipeline
from fewbench.benchmark.pipeline.running import Call, carry_out_pipelines
from fewbench.benchmark.sweep import connection, driver, sharded
from fewbench.benchmark.sweep.cluster import Cluster
from fewbench.benchmark.sweep.connection import connected
from fewbench.benchmark.sweep.driver import carry_out
from fewbench.benchmark.sweep.engine import Engine
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT

pytest.importorskip("ray")
PIPELINE = """
[train]
ways = 4
queries = 3
steps = 2
val-episodes = 20
[train.set]
"backbone.width" = 8
[[run]]
shots = [1, 2]
queries = 5
episodes = 60
[[run]]
method = "ridge"
queries = 5
episodes = 60
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Iterator[Cluster]:
    """A local Ray of two workers; a file says that one of them was killed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DIES_FILE", str(tmp_path_factory.mktemp("died") / "died"))
        with connected(None, 2, "cpu") as cluster:
            yield cluster


def test_the_records_are_the_same_on_one_worker_on_two_and_without_ray(
    config, content, two, plugins, tmp_path, monkeypatch, listener
):
    monkeypatch.setattr(sharded, "FIRST", 64)
    own, lone = str(plugins / "methods.py"), tmp_path / "lone.py"
    lone.write_bytes(Path(own).read_bytes())
    runs = [
        config,
        replace(config, method=f"{own}:Dies", episodes=700),
        replace(config, method="linear-probe", shots=2, episodes=40),
        replace(config, method=f"{own}:OnImages", episodes=20),
        replace(config, method=f"{lone}:NearestMean"),
    ]

    def placed(name: str) -> list[RunConfig]:
        return [replace(one, results=tmp_path / name) for one in runs]

    bad = replace(config, method=f"{own}:Fails", results=tmp_path / "bad")
    for one in placed("none")[:1] + placed("none")[2:]:
        run(one, SILENT)
    submit = two.submit

    def after_it_is_gone(function, sent, *rest):
        if any(path == str(lone) for path, _ in sent.plugins):
            lone.unlink(missing_ok=True)
        return submit(function, sent, *rest)

    monkeypatch.setattr(two, "submit", after_it_is_gone)
    assert (two.slots, two.gpu) == (2, False)
    outcomes, error = carry_out([*placed("two"), bad], list("123456"), two, listener)
    assert (str(error), len(outcomes)) == ("1 of 6 runs failed", len(runs)), listener.said
    assert Path(os.environ["DIES_FILE"]).exists()
    assert not lone.exists()
    lone.write_bytes(Path(own).read_bytes())
    monkeypatch.setattr(driver, "AHEAD", 1)  # one task at a time, which takes no other processes to be started
    carry_out(placed("one"), list("12345"), Cluster(two.ray, 1, gpu=False), SILENT)
    run(placed("none")[1], SILENT)  # which would have died without Ray
    assert content(tmp_path / "none") == content(tmp_path / "one") == content(tmp_path / "two") != {}


def test_pipelines_train_here_and_are_evaluated_on_ray(content, two, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "connected", lambda *options: nullcontext(two))
    texts = {"one": PIPELINE, "other": PIPELINE.replace("steps = 2", "steps = 3")}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(f'dataset = "{tiny}"\n{text}', encoding="utf-8")
    pipelines = [read_pipeline(tmp_path / f"{name}.toml", "protonet") for name in texts]
    on_ray = Call(tmp_path / "ray", SILENT, "cpu", engine=Engine("ray"))
    one, other = carry_out_pipelines(pipelines, on_ray)
    assert [stage.state for stage in (*one.trained, *other.trained)] == ["trained"] * 2
    shutil.copytree(tmp_path / "ray" / "checkpoints", tmp_path / "here" / "checkpoints")  # whose seconds are in the records
    here = carry_out_pipelines(pipelines, replace(on_ray, results=tmp_path / "here", engine=Engine()))
    for finished, alone in zip((one, other), here, strict=True):
        assert [out.record.accuracy for out in finished.outcomes] == [out.record.accuracy for out in alone.outcomes]
    assert content(tmp_path / "here") == content(tmp_path / "ray") and len(content(tmp_path / "ray")) == 6


def test_an_address_that_nobody_answers_is_told_at_once():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and takes no connections
        address = f"127.0.0.1:{held.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(UserError, match=f"--address {address}: nobody answers"), connected(address, None, "cpu"):
            pass
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("address", ["here", "ray://head:10001", ":6379", "head:port", "head:0"])
def test_what_is_no_address_is_told(address: str):
    with pytest.raises(UsageError, match="expected auto, or HOST:PORT"), connected(address, None, "cpu"):
        pass


def test_more_gpus_than_there_are_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="--device cuda takes a GPU for each worker: 2 are asked for, and the cluster has 1"):
        with connected(None, 2, "cuda"):
            pass


@pytest.mark.parametrize(
    ("answer", "told"), [(b"", r"nobody answers \(timed out\)"), (b"HTTP/1.1 400\r\n", "what answers there is no Ray cluster")]
)
def test_who_takes_connections_and_is_no_cluster_is_told(answer: bytes, told: str, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    held: list[socket.socket] = []

    def answering() -> None:
        held.append(server.accept()[0])
        held[0].sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"{address}\n")
        Thread(target=answering, daemon=True).start()
        with pytest.raises(UserError, match=f"--address {address}: {told}"), connected("auto", None, "cpu"):
            pass


def test_what_ray_says_of_other_versions_is_told_in_one_line(monkeypatch):
    def init(**options: object) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n  Python: 3.12.1\nThis process with:\n  Python: 3.11.7\n"
        )

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: None))
    with pytest.raises(UserError, match=r"started with: Python: 3\.12\.1 This process with: Python: 3\.11\.7$"):
        with connected(None, 2, "cpu"):
            pass


def test_the_extra_is_named_where_ray_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"Ray is not installed; pip install 'fewbench\[ray\]'"), connected(None, 2, "cpu"):
        pass
