"""The command `bench` as users have it: in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

MAIN = "import sys; sys.argv[0] = 'bench'; from fewbench.benchmark.commands.main import main; main()"
INSTALLED = shutil.which("bench", path=str(Path(sys.executable).parent))
BENCH = [INSTALLED] if INSTALLED else [sys.executable, "-c", MAIN]
LIMIT = 300  # seconds; nothing here takes a tenth of that on an idle machine

# Importing torch takes seconds, so most commands of these tests share it: a server imports what `bench run` imports, and a
# copy of it (a fork) runs `main` for each command, with its own arguments, folder, environment and outputs.
SERVER = """
import gc, json, os, sys, traceback
import fewbench.benchmark.evaluation.runner, fewbench.methods.metric.protonet, safetensors.torch, torch
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.commands.main import main

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
def bench_command() -> list[str]:
    """How a process of `bench` is started."""
    return BENCH


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


@pytest.fixture
def tiny_run(tiny: str, tiny_weights: Path) -> list[str]:
    """The arguments of a quick run."""
    return ["run", "--dataset", tiny, "--weights", str(tiny_weights), "--queries", "5", "--episodes", "200", "--device", "cpu"]
