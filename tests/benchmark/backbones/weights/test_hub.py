import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from fewbench.benchmark.backbones.weights.hub import fetch
from fewbench.core.errors import UserError

NOWHERE = "http://127.0.0.1:9"  # the port "discard": nothing listens


@pytest.fixture(autouse=True)
def unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub that refuses connections, and an empty cache."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_that_cannot_be_reached_is_one_line_at_once(offline: bool, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    started = time.perf_counter()
    with pytest.raises(UserError) as caught:
        fetch("timm/no_such_model", None, ("model.safetensors",), "backbone timm:x")
    assert time.perf_counter() - started < 20  # the hub's own client asks for 47 seconds
    message = str(caught.value)
    assert message.startswith(
        "backbone timm:x: the weights timm/no_such_model are not in the cache, and the hub cannot be reached ("
    )
    address = f"{NOWHERE}/timm/no_such_model/resolve/main/model.safetensors"
    assert message.endswith(f"; download {address} where there is a network, and pass it with --weights FILE")
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_what_is_in_the_cache_needs_no_hub(unreachable: Path, monkeypatch: pytest.MonkeyPatch):
    folder = unreachable / "models--timm--cached"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123abcd")
    (folder / "snapshots" / "0123abcd").mkdir(parents=True)
    (folder / "snapshots" / "0123abcd" / "second.bin").write_bytes(b"weights")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached_in(unreachable))
    assert fetch("timm/cached", None, ("first.bin", "second.bin"), "x").read_bytes() == b"weights"
    with pytest.raises(UserError, match="the hub cannot be reached"):
        fetch("timm/cached", None, ("third.bin",), "x")


def cached_in(folder: Path):
    """The real function on another folder: its default was read when the library was imported."""
    real = huggingface_hub.try_to_load_from_cache
    return lambda repository, filename, revision: real(repository, filename, cache_dir=folder, revision=revision)
