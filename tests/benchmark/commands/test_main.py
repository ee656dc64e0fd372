import sys

import pytest

from fewbench.benchmark import registry
from fewbench.benchmark.commands.main import main


def test_ctrl_c_is_said_in_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "entries", interrupted)
    monkeypatch.setattr(sys, "argv", ["bench", "list", "methods"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    said = "error: interrupted; what was finished is kept, and the same command goes on from there\n"
    assert capsys.readouterr().err == said
