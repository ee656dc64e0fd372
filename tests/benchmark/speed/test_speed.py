"""The measurements of `bench speed`, on work too small to measure anything, and the options that it recommends."""

import sys
from dataclasses import replace

import pytest

from fewbench.benchmark.commands import speed as command
from fewbench.benchmark.commands.main import main
from fewbench.benchmark.speed import encoding, methods, rates
from fewbench.benchmark.speed.encoding import EncodingSpeed
from fewbench.benchmark.speed.rates import Seconds
from fewbench.core.progress import SILENT
from fewbench.methods.metric.protonet import ProtoNet


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "LONG_ENOUGH", 0.0)
    monkeypatch.setattr(rates, "COPIED", 1000)
    monkeypatch.setattr(rates, "product_rate", lambda: 1e11)
    monkeypatch.setattr(methods, "MOST", 64)
    monkeypatch.setattr(methods, "methods_on_features", lambda: {"protonet": ProtoNet()})


def test_the_command_prints_what_it_measured_and_what_it_recommends(
    quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["bench", "speed", "--backbone", "conv4"])
    with pytest.raises(SystemExit) as caught:
        main()
    out = capsys.readouterr().out
    assert not caught.value.code, out
    rows = [line.split() for line in out.splitlines() if line.startswith("conv4 ")]
    assert [row[:4] for row in rows] == [["conv4", "84", "torch", str(batch)] for batch in encoding.BATCHES]
    assert all(float(cell.replace(",", "")) > 0 for row in rows for cell in row[4:7])
    assert any(line.split()[0] == "protonet" for line in out.splitlines() if line)
    assert "recommended: --runtime auto --batch-size " in out and "pip install openvino" in out


@pytest.mark.parametrize(
    ("name", "says"), [("conv5", "did you mean 'conv4'"), ("imported:x", "it is features without a network")]
)
def test_a_name_is_checked_before_anything_is_measured(
    name: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(rates, "product_rate", lambda: pytest.fail("measured"))
    monkeypatch.setattr(sys, "argv", ["bench", "speed", "--backbone", "conv4", "--backbone", name])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2 and says in capsys.readouterr().err


def test_encoding_is_measured_in_each_runtime_that_is_installed():
    [one] = encoding.encoding_speeds("conv4", (2,), SILENT, 0.0)
    assert (one.backbone, one.pixels, one.runtime, one.batch, one.gains) == ("conv4", 84, "torch", 2, True)
    assert one.image.wall > 0 and one.image.cpu > 0 and one.flops > 1e8


def test_every_method_on_features_is_measured():
    found = methods.methods_on_features()
    assert {"protonet", "linear-probe", "finetune"} <= found.keys() and not {"maml", "coop", "feat"} & found.keys()
    assert not any(method.undecided_with("none") for method in found.values())


CONV = EncodingSpeed("conv4", 84, "torch", 16, Seconds(0.004, 0.004), 10**8, gains=True)
VIT = EncodingSpeed("vit", 84, "torch", 16, Seconds(0.004, 0.004), 10**8, gains=False)


def faster(one: EncodingSpeed, times: float, batch: int = 16) -> EncodingSpeed:
    return replace(one, runtime="openvino", batch=batch, image=Seconds(one.image.wall / times, 0.001))


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ([CONV], ["recommended: --runtime auto --batch-size 16", "pip install"]),
        ([CONV, faster(CONV, 2), faster(CONV, 2.02, 64)], ["recommended: --runtime auto --batch-size 16"]),
        ([CONV, faster(CONV, 2), faster(CONV, 3, 64)], ["recommended: --runtime auto --batch-size 64"]),
        (
            [CONV, faster(CONV, 0.5), VIT, faster(VIT, 1.5)],
            [
                "recommended: --runtime auto --batch-size 16",
                "--runtime torch for conv4: 2.00 times as fast as openvino, which auto takes",
                "--runtime openvino for vit: 1.50 times as fast as torch, which auto takes",
            ],
        ),
    ],
)
def test_the_fastest_options_are_recommended(found: list[EncodingSpeed], lines: list[str]):
    recommended = command.recommended(found, "conv4")
    assert len(recommended) == len(lines)
    for line, begins in zip(recommended, lines, strict=True):
        assert line.startswith(begins)
