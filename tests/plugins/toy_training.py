"""A learner so small that a step takes a millisecond, and a program that trains it in processes that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from fewbench.benchmark.training.loop.curves import Curves
from fewbench.benchmark.training.loop.distributed import part_here
from fewbench.benchmark.training.loop.learner import Learner, Part, step_generator
from fewbench.benchmark.training.loop.loop import LoopOptions, fit
from fewbench.core.errors import UserError
from fewbench.core.progress import SILENT

WIDTH, CLASSES, BATCH = 6, 3, 12


class ToyLearner(Learner):
    """Tells which of the first entries of a random vector is the largest.

    Args:
        dropout: with torch's own generator.
        norm: whether there is a batch norm, whose statistics are state too.
        nan_at: step from 0 whose loss is not a number.
        seconds: that a step takes at least.
        log: a file that gets the number of each step begun.
    """

    def __init__(
        self,
        dropout: float = 0.2,
        norm: bool = True,
        nan_at: int | None = None,
        seconds: float = 0.0,
        log: Path | None = None,
    ) -> None:
        super().__init__()
        layer = nn.Linear(WIDTH, 8)
        self.backbone = nn.Sequential(layer, nn.BatchNorm1d(8) if norm else nn.Identity(), nn.ReLU())
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(8, CLASSES)
        self.nan_at, self.seconds, self.log = nan_at, seconds, log
        generator = torch.Generator().manual_seed(5)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

    def batch(self, step: int, part: Part) -> tuple[Tensor, Tensor, int]:
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{step}\n")
        if self.seconds:
            time.sleep(self.seconds)
        x = torch.randn(BATCH, WIDTH, generator=step_generator(3, step, torch.device("cpu")))
        mine = slice(part.rank * BATCH // part.world, (part.rank + 1) * BATCH // part.world)
        return x[mine], x[mine, :CLASSES].argmax(dim=1), step

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        x, labels, step = batch
        scores = self.head(self.dropout(self.backbone(x)))
        loss = functional.cross_entropy(scores, labels)
        if step == self.nan_at:
            loss = loss * torch.nan
        return loss, {"accuracy": (scores.argmax(dim=1) == labels).float().mean()}


def validation(learner: ToyLearner) -> float:
    """Accuracy on a fixed set, in evaluation mode."""
    assert not learner.training
    x = torch.randn(300, WIDTH, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        return (learner.head(learner.backbone(x)).argmax(dim=1) == x[:, :CLASSES].argmax(dim=1)).double().mean().item()


def train(folder: Path, learner: dict[str, Any], options: dict[str, Any], environment: dict[str, str]) -> int:
    """Train in a process of its own: what the command line would print goes to files. Returns the exit code."""
    os.environ.update(environment)
    folder.mkdir(parents=True, exist_ok=True)
    toy = ToyLearner(**learner, log=folder / "steps")
    try:
        fitted = fit(toy, lambda: validation(toy), LoopOptions(**options), folder, {"toy": 1}, torch.device("cpu"), SILENT)
    except UserError as error:
        (folder / "error").write_text(f"{error}", encoding="utf-8")
        return error.exit_code
    (folder / f"best{part_here().rank}").write_bytes(save(fitted.best))
    return 0


class Trainings:
    """A program that has imported torch and trains in copies of itself (forks), several at once; its end is theirs."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def start(self, *requests: dict[str, Any]) -> list[int]:
        """Begin one training a request (the arguments of `train`); their process ids."""
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(requests) + "\n")
        self.server.stdin.flush()
        return self._answer()

    def codes(self) -> list[int]:
        """Wait for what was started; the exit codes, negative for a signal."""
        return self._answer()

    def _answer(self) -> list[int]:
        assert self.server.stdout is not None
        return json.loads(self.server.stdout.readline())

    def close(self) -> None:
        self.server.kill()
        self.server.communicate()


def serve() -> None:
    """Read a list of requests a line; answer with process ids, then with exit codes."""
    torch.set_num_threads(1)
    Curves().png()  # what matplotlib imports is shared too
    for line in sys.stdin:
        children = []
        for request in json.loads(line):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = train(**{**request, "folder": Path(request["folder"])})
                finally:
                    os._exit(code)
            children.append(child)
        sys.stdout.write(f"{json.dumps(children)}\n")
        sys.stdout.flush()
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.stdout.write(f"{json.dumps(codes)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
