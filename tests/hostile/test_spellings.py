"""Other spellings of what people bring: read where they are clear, else named with what is there."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewbench.benchmark.backbones.weights.file import read_networks
from fewbench.benchmark.text.prompt_files import prompts_of_file
from fewbench.core.errors import UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.folder import Folder

PROMPTS = {
    "- a photo of a {}.\n* a {}.\n": ("a photo of a {}.", "a {}."),
    "1. a photo of a {}\n2) a {}\n": ("a photo of a {}", "a {}"),
    "“a photo of a {}.”\n«a {}»,\n": ("a photo of a {}.", "a {}"),
    "lambda c: 'a photo of a {}.'.format(c),\n": ("a photo of a {}.",),
    '{"t": "a {}"}\n{"t": "b {}"}\n': "prompt 1 is code",
    "lambda c: f'a {c}.' if c else 'x'\n": "prompt 1 is code",
}


@pytest.mark.parametrize(("text", "means"), PROMPTS.items())
def test_prompts(text: str, means: tuple[str, ...] | str, tmp_path: Path):
    path = tmp_path / "p.txt"
    path.write_text(text)
    if isinstance(means, tuple):
        assert prompts_of_file(path, "", "trifeature") == means
    else:
        with pytest.raises(UserError, match=means):
            prompts_of_file(path, "", "trifeature")


TENSORS = {"a": torch.zeros(2)}


def test_a_tuple_of_state_dicts(tmp_path: Path):
    torch.save((TENSORS, {"lr": 1}), tmp_path / "x.pt")
    assert list(read_networks(tmp_path / "x.pt")) == ["0"]
    torch.save([1, 2], tmp_path / "y.pt")
    with pytest.raises(UserError, match="holds no weights \\(it has 0, 1\\)"):
        read_networks(tmp_path / "y.pt")


def test_what_is_no_file_of_weights_or_prompts(bench, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lfs.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n")
    (tmp_path / "folder.pth").mkdir()
    told = {"lfs.pth": "git lfs pull", "folder.pth": "a folder, not a file", "gone.pth": "no such file"}
    if hasattr(socket, "AF_UNIX"):
        socket.socket(socket.AF_UNIX).bind("socket.pth")
        told["socket.pth"] = "a socket, not a file"
    for name, says in told.items():
        assert says in bench("run", "--dataset", tiny, "--weights", name).message
        if name != "lfs.pth":
            prompts = bench("run", "--method", "clip-zero-shot", "--dataset", tiny, "--prompts", name).message
            assert says.replace("such file", "such prompt set or file") in prompts
            assert says in bench("run", "--dataset", tiny, "--checkpoint", name).message


@pytest.fixture
def pictures(tmp_path: Path):
    """A function that writes two pictures into each folder."""

    def write(*folders: str) -> Path:
        random = np.random.default_rng(0)
        for folder in folders:
            (tmp_path / "photos" / folder).mkdir(parents=True)
            for number in range(2):
                pixels = random.integers(0, 256, size=(8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{number}.png")
        return tmp_path / "photos"

    return write


class Said:
    """Progress that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    track = staticmethod(SILENT.track)


def found_in(root: Path) -> str:
    said = Said()
    Folder(root=str(root), size=8).prepare(splits=("test",), progress=said)  # type: ignore[arg-type]
    return "\n".join(said.lines)


def test_a_csv_without_a_line_of_columns_loses_no_picture(pictures):
    root = pictures("a", "b")
    rows = [f"{name}/{number}.png{{}}{name}\n" for name in ("a", "b") for number in range(2)]
    for name, head, separator in (("x.csv", "", ","), ("y.csv", "", "\t"), ("z.csv", "sep=;\nfile;label\n", ";")):
        (root / name).write_text(head + "".join(row.format(separator) for row in rows))
        assert "2 classes, 4 images" in found_in(root / name)


def test_names_that_differ_in_case_alone_are_said(pictures):
    root = pictures("a", "b")
    (root / "x.csv").write_text("file,label\na/0.png,cat\na/1.png,Cat\nb/0.png,dog\nb/1.png,dog\n")
    assert "names that differ in case or Unicode form alone: Cat and cat" in found_in(root / "x.csv")


def test_parts_of_a_class_with_its_name_in_front_are_asked_about(pictures):
    with pytest.raises(UserError, match="class_folder=outer"):
        found_in(pictures("c0/c0_left", "c0/c0_right", "c1/c1_left", "c1/c1_right"))


def test_one_picture_in_two_classes_is_said(pictures):
    root = pictures("a", "b")
    (root / "b" / "2.png").write_bytes((root / "a" / "0.png").read_bytes())
    assert "photos in several classes are left out: b/2.png is a/0.png" in found_in(root)
    (root / "b" / "2.png").write_bytes((root / "a" / "0.png").read_bytes() + b"other bytes")
    assert "a, b hold 1 identical picture" in found_in(root) and "pictures" not in found_in(root)


def test_an_episode_beyond_all_numbers(bench, tiny: str, tmp_path: Path):
    for index in ("9" * 30, "-1"):
        done = bench("plot", "episode", "--dataset", tiny, "--queries", "5", "--index", index, "--output", tmp_path / "e.png")
        assert f"--index {index}: from 0 to 1,000,000,000" in done.message
