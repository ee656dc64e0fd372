import subprocess
import sys
from pathlib import Path

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
    said = "error: interrupted; finished work is kept, and the same command goes on from there\n"
    assert capsys.readouterr().err == said


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    def failing(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(registry, "entries", failing)
    monkeypatch.setattr(sys, "argv", ["bench", "list", "methods", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


ERRORS = {
    "nested too deeply: maximum depth": RecursionError("maximum depth"),
    "a number is too large: int too large": OverflowError("int too large"),
    "text has another encoding than expected: 'utf-8'": UnicodeDecodeError("utf-8", b"x", 0, 1, "wrong"),
    "a file cannot be read or written: [Errno 28] No space": OSError(28, "No space left on device"),
}


@pytest.mark.parametrize("says", ERRORS)
def test_what_the_content_of_a_file_makes_python_raise_is_one_line(
    says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "x.json"
    file.touch()
    assert fail_with(ERRORS[says], monkeypatch, "--results", str(file)) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {says}") and said.count("\n") == 1 and str(file) in said
    assert fail_with(PermissionError(13, "Permission denied", "/some/file"), monkeypatch) == 1
    assert capsys.readouterr().err == "error: /some/file: Permission denied\n"


def test_mistakes_of_the_program_keep_their_traceback(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ZeroDivisionError):
        fail_with(ZeroDivisionError("division by zero"), monkeypatch)


CLOSED = [(">&-", "standard output is closed"), ("> /dev/full", "cannot write to standard output")]


@pytest.mark.parametrize(("shell", "says"), CLOSED)
def test_standard_output_that_takes_nothing_is_one_line(shell: str, says: str):
    command = f"{sys.executable} -c 'from fewbench.benchmark.commands.main import main; main()' list samplers {shell}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {says}") and done.stderr.count("\n") == 1
