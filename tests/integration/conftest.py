"""The command `bench` as users have it: in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

MAIN = "from fewbench.benchmark.commands.main import main; main()"
INSTALLED = shutil.which("bench", path=str(Path(sys.executable).parent))
BENCH = [INSTALLED] if INSTALLED else [sys.executable, "-c", MAIN]
LIMIT = 300  # seconds; nothing here takes a tenth of that on an idle machine

# Importing torch takes seconds, so commands whose only interest is their message share it: one process imports what `bench
# run` imports, and a copy of it (a fork) runs `main` for each command, with its own arguments, folder and outputs.
MANY = """
import gc, json, os, sys, traceback
import fewbench.benchmark.backbones.conv4, fewbench.benchmark.runner, fewbench.methods.protonet, safetensors.torch
from fewbench.benchmark.commands.main import main

def alone(arguments, folder, out, err):
    for path, handle in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
    os.chdir(folder)
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
codes = []
for case in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        alone(**case)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
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
def bench_many(bench: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Done]]:
    """A function that runs several commands, each in a process of its own, one after the other."""

    def run(cases: Sequence[Case], **environment: str) -> list[Done]:
        if not hasattr(os, "fork"):
            return [bench(*arguments, cwd=folder, **environment) for arguments, folder in cases]
        outputs = tmp_path_factory.mktemp("outputs")
        content = [
            {
                "arguments": [*map(str, arguments)],
                "folder": str(folder),
                "out": str(outputs / f"{number}.out"),
                "err": str(outputs / f"{number}.err"),
            }
            for number, (arguments, folder) in enumerate(cases)
        ]
        done = subprocess.run(
            [sys.executable, "-c", MANY],
            input=json.dumps(content),
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            encoding="utf-8",
            timeout=LIMIT,
            check=True,
        )
        texts = [[Path(case[stream]).read_text(encoding="utf-8") for stream in ("out", "err")] for case in content]
        return [Done(code, *both) for code, both in zip(json.loads(done.stdout), texts, strict=True)]

    return run


@pytest.fixture
def tiny_run(tiny: str, tiny_weights: Path) -> list[str]:
    """The arguments of a quick run."""
    return ["run", "--dataset", tiny, "--weights", str(tiny_weights), "--queries", "5", "--episodes", "200", "--device", "cpu"]
