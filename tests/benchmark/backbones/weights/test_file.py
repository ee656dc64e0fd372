import argparse
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from fewbench.benchmark.backbones.weights.file import read_tensors
from fewbench.core.errors import UserError

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


def same(tensors: dict[str, torch.Tensor]) -> bool:
    return tensors.keys() == STATE.keys() and all(torch.equal(tensors[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 7, "optimizer": {"lr": 0.1}},
        {"model": STATE},
        {"params": STATE},
        {"state_dict": {"model": STATE}},
        {**STATE, "step": 3},
    ],
    ids=["flat", "state_dict", "model", "params", "nested twice", "with a number"],
)
def test_the_tensors_of_a_checkpoint_are_found(tmp_path: Path, content: dict):
    torch.save(content, tmp_path / "a.pth")
    assert same(read_tensors(tmp_path / "a.pth"))


def test_older_pytorch_files_and_safetensors_are_read(tmp_path: Path):
    torch.save(STATE, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "a.safetensors")
    assert same(read_tensors(tmp_path / "old.pt")) and same(read_tensors(tmp_path / "a.safetensors"))


def test_safetensors_are_known_by_their_content(tmp_path: Path):
    for name in ("a.pth", "a.bin", "a"):
        (tmp_path / name).write_bytes(save(STATE))
        assert same(read_tensors(tmp_path / name))


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_of_a_file_is_run(tmp_path: Path):
    trace = tmp_path / "trace"
    torch.save({"state_dict": STATE, "more": Harmful(trace)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Harmful(trace)))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(UserError, match=rf"^--weights {name} [^\n]*$"):
            read_tensors(tmp_path / name)
    assert not trace.exists()
    pickle.loads((tmp_path / "b.pt").read_bytes())
    assert trace.exists()  # it would have been


def saved(content: object, cut: int | None = None, **options: bool):
    def write(path: Path) -> None:
        torch.save(content, path, **options)
        path.write_bytes(path.read_bytes()[:cut])

    return write


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "none")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "is no weights file: neither safetensors nor written by"),
        (lambda path: path.write_text("These are no weights.\n"), "is no weights file: neither safetensors nor written by"),
        (lambda path: path.write_text("epoch,loss\n1,0.5\n"), "is no weights file: neither safetensors nor written by"),
        (lambda path: path.write_bytes(save(STATE)[:-4]), "is not a whole safetensors file: "),
        (saved(STATE, -60), "is not a whole PyTorch file: "),
        (saved(STATE, 100), "is not a whole PyTorch file: "),
        (saved(STATE, -10, _use_new_zipfile_serialization=False), "is not a whole PyTorch file: unexpected EOF"),
        (zipped, "is not a whole PyTorch file: "),
        (saved({"state_dict": STATE, "args": argparse.Namespace(a=1)}), r"holds Python objects \(argparse.Namespace\), which"),
        (saved(torch.nn.Linear(2, 2)), r"holds Python objects \(torch.nn.modules.linear.Linear\), which are never unpickled; "),
        (saved([1, 2]), r"holds no weights \(it has 0, 1\); save a state dict: "),
        (saved({"model": {"a": 1}}), r"holds no weights \(it has model\); save a state dict: "),
        (lambda path: None, "No such file or directory"),
    ],
    ids="empty,prose,table,cut safetensors,cut,cut short,cut old,zip,arguments,module,list,numbers,gone".split(","),
)
@pytest.mark.filterwarnings("error")
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, write, message: str):
    path = tmp_path / "a.pt"
    write(path)
    with pytest.raises(UserError, match=rf"^--weights a\.pt[^\n]*{message}[^\n]*$"):
        read_tensors(path)


def test_a_pytorch_file_with_the_wrong_suffix_is_told(tmp_path: Path):
    torch.save(STATE, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"^--weights a\.safetensors is not a whole safetensors file: "):
        read_tensors(tmp_path / "a.safetensors")
