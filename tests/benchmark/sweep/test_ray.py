"""A local Ray: the same records with one worker, with two of which one is killed, and without Ray."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation.runner import run
from fewbench.benchmark.sweep import driver, sharded
from fewbench.benchmark.sweep.cluster import Cluster, connected
from fewbench.benchmark.sweep.driver import carry_out
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT

pytest.importorskip("ray")


def test_the_records_are_the_same_on_one_worker_on_two_and_without_ray(config, content, plugins, tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "FIRST", 64)
    own, died = str(plugins / "methods.py"), tmp_path / "died"
    monkeypatch.setenv("DIES_FILE", str(died))
    runs = [
        config,
        replace(config, method=f"{own}:Dies", episodes=700),
        replace(config, method="linear-probe", shots=2, episodes=40),
        replace(config, method=f"{own}:OnImages", episodes=20),
    ]

    def placed(name: str) -> list[RunConfig]:
        return [replace(one, results=tmp_path / name) for one in runs]

    bad = replace(config, method=f"{own}:Fails", results=tmp_path / "bad")
    with connected(None, 2, "cpu") as cluster:
        assert (cluster.slots, cluster.gpu) == (2, False)
        outcomes, error = carry_out([*placed("two"), bad], list("12345"), cluster, SILENT)
        assert died.exists() and len(outcomes) == len(runs) and str(error) == "1 of 5 runs failed"
        monkeypatch.setattr(driver, "AHEAD", 1)  # one task at a time, which takes no other processes to be started
        carry_out(placed("one"), list("1234"), Cluster(cluster.ray, 1, gpu=False), SILENT)
    for one in placed("none"):
        run(one, SILENT)
    assert content(tmp_path / "none") == content(tmp_path / "one") == content(tmp_path / "two") != {}


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


def test_the_extra_is_named_where_ray_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"Ray is not installed; pip install 'fewbench\[ray\]'"), connected(None, 2, "cpu"):
        pass


def test_a_plug_in_file_that_a_machine_lacks_is_told(config, here, plugins, tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text((plugins / "methods.py").read_text())
    cluster = here()
    cluster.before = lambda name: file.unlink(missing_ok=True)
    _, error = carry_out([replace(config, method=f"{file}:NearestMean")], [], cluster, SILENT)
    assert str(error).startswith(f"plug-in file {file} is not on every machine of the cluster")
