import os
from pathlib import Path

import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.reading.holders import FolderFiles, Member


def everything(name: str) -> bool:
    return True


@pytest.fixture
def folder(tmp_path) -> FolderFiles:
    for name in ("b/2.jpg", "b/1.jpg", "a/3.jpg", "notes.txt", ".git/4.jpg", "b/.5.jpg"):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(name)
    return FolderFiles(tmp_path / "folder")


def test_files_are_listed_sorted_without_the_hidden_ones(folder):
    assert [member.name for member in folder.members(everything)] == ["notes.txt", "a/3.jpg", "b/1.jpg", "b/2.jpg"]
    assert [member.name for member in folder.members(lambda name: name.startswith("b/"))] == ["b/1.jpg", "b/2.jpg"]


def test_files_are_read_and_mapped(folder):
    member = folder.members(everything)[1]
    with folder.opened() as read:
        assert read(member) == b"a/3.jpg"
    whole, start, stop = folder.buffer(member)
    assert whole[start:stop] == b"a/3.jpg"
    (folder.path / "a/3.jpg").write_bytes(b"")
    assert folder.buffer(member) == (b"", 0, 0)


def test_links_are_followed_once(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "9.jpg").touch()
    (folder.path / "c").symlink_to(tmp_path / "elsewhere")
    (folder.path / "c" / "round").symlink_to(folder.path)
    assert [member.name for member in folder.members(everything)][-2:] == ["b/2.jpg", "c/9.jpg"]


def test_a_folder_that_may_not_be_read_is_one_line(folder, monkeypatch):
    def closed(path, *arguments):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match=r"cannot read .*folder: Permission denied"):
        folder.members(everything)


def test_members_say_where_they_are(folder):
    member = Member(folder, "val/n01/n01_5.JPEG")
    assert (member.file_name, member.stem, member.parent) == ("n01_5.JPEG", "n01_5", "n01")
    assert str(member) == str(folder.path / "val" / "n01" / "n01_5.JPEG")
    assert Member(folder, "x.jpg").parent == ""
    assert not folder.in_order and isinstance(folder.path, Path)
