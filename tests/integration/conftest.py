"""The command `bench` as users have it, in processes of its own; and in this process, to try the many commands of pages."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CLASSES = {"train": 12, "val": 6, "test": 12}  # of a small dataset; the page on training has 10 ways
IMAGES = 20  # a class, which 5 shots and 15 queries need
MAIN = "import sys; sys.argv[0] = 'bench'; from fewbench.benchmark.commands.main import main; main()"
INSTALLED = shutil.which("bench", path=str(Path(sys.executable).parent))
BENCH = [INSTALLED] if INSTALLED else [sys.executable, "-c", MAIN]
LIMIT = 300  # seconds; nothing here takes a tenth of that on an idle machine

# Importing torch, timm and open_clip takes seconds, so most commands of these tests share it: a server imports what commands
# import, and a copy of it (a fork) runs `main` for each command, with its own arguments, folder, environment and outputs.
SERVER = """
import gc, json, os, sys, traceback
import fewbench.benchmark.evaluation.runner, fewbench.methods.metric.protonet, open_clip, safetensors.torch, timm, torch
import fewbench.benchmark.pipeline.running, fewbench.benchmark.training.meta.meta_training
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.commands.main import app, main
from typer.main import get_command

get_command(app)  # what Typer computes once and keeps
Conv4().build(3, 32, torch.Generator())  # what torch imports with the first network, a part of a second, is shared too

def alone(arguments, folder, environment, out, err):
    for path, flags, handle in ((os.devnull, os.O_RDONLY, 0), (out, os.O_WRONLY, 1), (err, os.O_WRONLY, 2)):
        os.dup2(os.open(path, flags | os.O_CREAT), handle)
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = ["bench", *arguments]
    code = 0
    try:
        main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

gc.freeze()  # a collection in a copy would copy every page
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        alone(**json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """What standard error ends with, which is an error's one line."""
        lines = self.err.splitlines()
        assert "Traceback" not in self.err, self.err
        assert [line.startswith("error: ") for line in lines].count(True) == 1, self.err
        return lines[-1].removeprefix("error: ")


Case = tuple[Sequence[str | Path], Path]  # the arguments of one command of several, and the folder it runs in


@pytest.fixture(scope="session")
def bench() -> Callable[..., Done]:
    """A function that runs `bench` with arguments in a folder, as its users do."""

    def run(*arguments: str | Path, cwd: Path, **environment: str) -> Done:
        done = subprocess.run(
            [*BENCH, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def start_bench() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts `bench` with arguments in a folder; what still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*BENCH, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def wait_for() -> Callable[[Callable[[], Any], subprocess.Popen[str]], Any]:
    """A function that waits until a running process has done something, and returns what was found of it."""

    def wait(found: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
        end = time.monotonic() + LIMIT
        while not (what := found()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.005)
        return what

    return wait


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str] | None]:
    """The process that runs commands in copies of itself; None where the system has no fork."""
    if not hasattr(os, "fork"):
        yield None
        return
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, encoding="utf-8", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.communicate()  # the end of its input is the end of its work


@pytest.fixture(scope="session")
def bench_many(
    bench: Callable[..., Done], server: subprocess.Popen[str] | None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[Done]]:
    """A function that runs commands one after the other, each in a process of its own."""

    def run(cases: Sequence[Case], **environment: str) -> list[Done]:
        if server is None:
            return [bench(*arguments, cwd=folder, **environment) for arguments, folder in cases]
        assert server.stdin is not None and server.stdout is not None
        outputs, results = tmp_path_factory.mktemp("outputs"), []
        for number, (arguments, folder) in enumerate(cases):
            out, err = (outputs / f"{number}.{stream}" for stream in ("out", "err"))
            case = {"arguments": [*map(str, arguments)], "folder": str(folder), "environment": environment}
            server.stdin.write(json.dumps({**case, "out": str(out), "err": str(err)}) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            results.append(Done(code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")))
        return results

    return run


@pytest.fixture(scope="session")
def bench_here() -> Callable[..., Done]:
    """A function that runs `bench` with arguments in this process, in its current folder."""
    from fewbench.benchmark.commands import main as main_module

    def run(*arguments: str | Path) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(sys, "argv", ["bench", *map(str, arguments)])
            with pytest.raises(SystemExit) as left:
                main_module.main()
        return Done(int(left.value.code or 0), out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def shorten(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[pytest.MonkeyPatch], None]:
    """A function that lets Trifeature, Omniglot and mini-ImageNet have a few classes, in a cache of their own."""
    from fewbench.tasks.datasets import omniglot, trifeature
    from fewbench.tasks.datasets.mini_imagenet import MiniImageNet

    lists, datasets = tmp_path_factory.mktemp("lists"), ("trifeature", "omniglot", "mini-imagenet")
    for path in trifeature.LIST.parent.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        if "split" in header and path.stem in datasets:
            of_splits: dict[str, list[list[str]]] = {}
            for row in rows:
                of_splits.setdefault(row[header.index("split")], []).append(row)
            rows = [row for split, of_split in of_splits.items() for row in of_split[: CLASSES[split]]]
        with (lists / path.name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])

    def shortened(patch: pytest.MonkeyPatch) -> None:
        for module in (trifeature, omniglot):
            patch.setattr(module, "LIST", lists / module.LIST.name)
        patch.setattr("fewbench.tasks.class_lists.LISTS", lists)
        patch.setattr(MiniImageNet, "per_class", IMAGES)
        patch.setenv("FEWBENCH_CACHE", str(cache.with_name("cache-of-small-datasets")))

    return shortened


@pytest.fixture
def small_datasets(shorten: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Built-in datasets have a few classes."""
    shorten(monkeypatch)


@pytest.fixture
def tiny_run(tiny: str, tiny_weights: Path) -> list[str]:
    """The arguments of a quick run."""
    return ["run", "--dataset", tiny, "--weights", str(tiny_weights), "--queries", "5", "--episodes", "200", "--device", "cpu"]
