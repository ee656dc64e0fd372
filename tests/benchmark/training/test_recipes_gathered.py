"""Losses over the batches of several processes."""

import subprocess
import sys
from pathlib import Path

import pytest

# Each process has half of the rows. The gradients of a weight, meant over the processes as DistributedDataParallel does, are
# those of the loss of all rows. The centre's means are those of all rows too.
SCRIPT = """
import os, sys
import torch
from torch import distributed
from fewbench.benchmark.training.recipes.dino import _mean_over_processes
from fewbench.benchmark.training.recipes.projection import gathered
from fewbench.benchmark.training.recipes.simclr import similarities

def loss(rows, weight, gather):
    first, second = (gather(half) for half in (rows @ weight).chunk(2, dim=1))
    return torch.nn.functional.cross_entropy(*similarities(first, second, 0.5))

other = os.fork()  # so that torch is imported once
rank = int(other == 0)
distributed.init_process_group("gloo", init_method=sys.argv[1], rank=rank, world_size=2)
generator = torch.Generator().manual_seed(0)
rows, weight = torch.randn(8, 6, generator=generator), torch.randn(6, 6, generator=generator).requires_grad_()
(whole,) = torch.autograd.grad(loss(rows, weight, lambda half: half), weight)
mine = rows[4 * rank : 4 * rank + 4]
(part,) = torch.autograd.grad(loss(mine, weight, gathered), weight)
distributed.all_reduce(part)
torch.testing.assert_close(part / 2, whole)
torch.testing.assert_close(_mean_over_processes(mine.mean(dim=0)), rows.mean(dim=0))
distributed.destroy_process_group()
if other:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="gloo needs more than Windows has")
def test_gradients_of_gathered_rows_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    meeting = (tmp_path / "meeting").as_uri()
    done = subprocess.run([sys.executable, "-c", SCRIPT, meeting], stderr=subprocess.PIPE, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "FutureWarning" not in done.stderr
