"""Each trial is a process of its own: how memory is kept is a setting of the whole process."""

import json
import os
import subprocess
import sys

import pytest

from fewbench.core import heap

TRIAL = """
import json, resource, sys
import numpy as np
from fewbench.core.heap import keep_heap
kept = keep_heap() if sys.argv[1] == "kept" else None
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones(2**23)  # 64 MiB
before = faults()
for _ in range(5):
    np.ones(2**23)
again = faults() - before
for size in (25, 27) if kept else ():
    np.ones(2**size)  # up to 1 GiB
with open("/proc/self/statm") as file:
    resident = int(file.read().split()[1]) * resource.getpagesize()
print(json.dumps({"kept": kept, "faults": again, "resident": resident}))
"""


def trial(how: str) -> dict[str, int]:
    done = subprocess.run([sys.executable, "-c", TRIAL, how], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def on_glibc() -> bool:
    return sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in os.confstr_names


@pytest.mark.skipif(not on_glibc(), reason="only glibc gives large buffers back")
def test_a_buffer_that_was_freed_is_used_again_and_the_rest_is_bounded():
    plain, kept = trial("plain"), trial("kept")
    assert kept["kept"] is True
    assert kept["faults"] < 100 < plain["faults"]  # without it, each page of each buffer, or of each huge page
    assert kept["resident"] < heap.KEPT + 2**28


@pytest.mark.parametrize("answer", [None, "musl 1.2", ValueError("unrecognized configuration name")])
def test_other_systems_stay_as_they_are(answer: str | Exception | None, monkeypatch: pytest.MonkeyPatch):
    def confstr(name: str) -> str | None:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(os, "confstr", confstr)
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: pytest.fail("nothing is called"))
    assert heap.keep_heap.__wrapped__() is False
