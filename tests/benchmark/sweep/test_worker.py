import time

import pytest

from fewbench.benchmark.sweep.worker import Listener


def test_a_listener_tells_how_many_images_are_encoded_each_second(monkeypatch: pytest.MonkeyPatch):
    now, counted = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Listener(counted.append).track("encoding", 100, "images") as advance:
        for second in (100.2, 101.1, 101.9, 102.2):
            now[0] = second
            advance(10)
    with Listener(counted.append).track("choosing", 100, "trials") as advance:
        now[0] = 110
        advance(10)
    assert counted == [20, 40]
