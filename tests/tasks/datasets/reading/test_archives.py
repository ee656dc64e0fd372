import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.reading.archives import TarFiles, ZipFiles, archive, find_holders, is_archive
from fewbench.tasks.datasets.reading.holders import FolderFiles, Holder

FILES = {"b/2.jpg": b"two", "b/1.jpg": b"one", "a/3.jpg": b"three", "notes.txt": b"notes"}
HIDDEN = {".git/4.jpg": b"x", "b/.5.jpg": b"x", "__MACOSX/b/._1.jpg": b"x"}


def every(name: str) -> bool:
    return True


def write_folder(path: Path, files: dict[str, bytes]) -> Holder:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return FolderFiles(path)


def write_zip(path: Path, files: dict[str, bytes]) -> Holder:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.mkdir("b") if hasattr(file, "mkdir") else None
        for name, content in files.items():
            file.writestr(name, content)
    return ZipFiles(path)


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Holder:
    with tarfile.open(path, mode) as file:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return TarFiles(path)


def contents(holder: Holder, keep=every) -> dict[str, bytes]:
    members = sorted(holder.members(keep), key=lambda member: member.place)
    with holder.opened() as read:
        found = {member.name: bytes(read(member)) for member in members}
    for member in members:
        whole, start, stop = holder.buffer(member)
        assert whole[start:stop] == found[member.name]
    return found


MAKERS = {
    "folder": lambda place, files: write_folder(place / "folder", files),
    "zip": lambda place, files: write_zip(place / "a.zip", files),
    "tar": lambda place, files: write_tar(place / "a.tar", files),
    "tgz": lambda place, files: write_tar(place / "a.tgz", files, "w:gz"),
    "bz2": lambda place, files: write_tar(place / "a.tar.bz2", files, "w:bz2"),
    "xz": lambda place, files: write_tar(place / "a.tar.xz", files, "w:xz"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_files_are_found_and_read_without_the_hidden_ones(kind, tmp_path):
    holder = MAKERS[kind](tmp_path, {**FILES, **HIDDEN})
    assert contents(holder) == FILES
    assert contents(holder, lambda name: name.endswith(".jpg")).keys() == {"a/3.jpg", "b/1.jpg", "b/2.jpg"}
    assert holder.in_order == (kind in ("tgz", "bz2", "xz"))


@pytest.mark.parametrize("kind", MAKERS)
def test_an_empty_file_can_be_read(kind, tmp_path):
    assert contents(MAKERS[kind](tmp_path, {"a.jpg": b""})) == {"a.jpg": b""}


def test_a_tar_file_of_tar_files_is_read_like_a_folder_of_folders(tmp_path):
    inner = {}
    for name in ("n01", "n02"):
        write_tar(tmp_path / f"{name}.tar", {f"{name}_{number}.JPEG": f"{name}{number}".encode() for number in (1, 2)})
        inner[f"{name}.tar"] = (tmp_path / f"{name}.tar").read_bytes()
    outer = write_tar(tmp_path / "train.tar", inner)
    assert contents(outer, lambda name: name.startswith("n02")) == {"n02/n02_1.JPEG": b"n021", "n02/n02_2.JPEG": b"n022"}
    assert len(contents(outer)) == 4


def test_members_of_a_tar_file_that_are_no_files_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for kind, name in ((tarfile.SYMTYPE, "link.jpg"), (tarfile.LNKTYPE, "hard.jpg"), (tarfile.FIFOTYPE, "pipe.jpg")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        file.addfile(tarfile.TarInfo("./a/1.jpg"))
    assert contents(TarFiles(tmp_path / "a.tar")) == {"a/1.jpg": b""}


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
@pytest.mark.parametrize("name", ["../1.jpg", "a/../../1.jpg", "/tmp/1.jpg", "C:/1.jpg", "..\\1.jpg", "a/.."])
def test_an_archive_that_climbs_out_is_refused(kind, name, tmp_path):
    holder = MAKERS[kind](tmp_path, {"b/1.jpg": b"", name: b""})
    with pytest.raises(UserError, match="climbs out of the archive") as caught:
        holder.members(lambda name: name.endswith("b/1.jpg"))
    assert repr(name) in str(caught.value) and "\n" not in str(caught.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>" * 100)


# A tar file that is only cut gives its members up to there; what lacks is missed by whoever wants it.
@pytest.mark.parametrize(
    ("kind", "spoil"),
    [("zip", cut), ("tgz", cut), ("bz2", cut), ("xz", cut), ("zip", overwrite), ("tar", overwrite), ("tgz", overwrite)],
)
def test_a_damaged_archive_is_one_line(kind, spoil, tmp_path):
    holder = MAKERS[kind](tmp_path, {f"{number}.jpg": os.urandom(3000) for number in range(20)})
    spoil(holder.path)
    with pytest.raises(UserError, match=r"cannot read .*a\.") as caught:
        contents(archive(holder.path))
    assert "\n" not in str(caught.value)


def test_a_source_is_a_folder_with_its_archives_or_an_archive_or_the_folder_of_a_file(tmp_path):
    write_folder(tmp_path, {**FILES, "b/deep.zip": b""})
    write_zip(tmp_path / "z.zip", FILES)
    write_tar(tmp_path / "t.tar.gz", FILES, "w:gz")

    def found(source: Path) -> list[tuple[type, Path]]:
        return [(type(holder), holder.path) for holder in find_holders(source)]

    everything = [(FolderFiles, tmp_path), (TarFiles, tmp_path / "t.tar.gz"), (ZipFiles, tmp_path / "z.zip")]
    assert found(tmp_path) == everything
    assert found(tmp_path / "notes.txt") == everything
    assert found(tmp_path / "z.zip") == [(ZipFiles, tmp_path / "z.zip")]


def test_archives_are_known_by_their_suffix():
    names = ("a.zip", "a.TAR", "a.tar.gz", "a.tgz", "a.gz", "tar", "a.npz")
    assert [name for name in names if is_archive(Path(name))] == ["a.zip", "a.TAR", "a.tar.gz", "a.tgz"]


def test_members_are_named_with_their_archive(tmp_path):
    member = write_zip(tmp_path / "a.zip", {"val/n01/n01_5.JPEG": b""}).members(every)[0]
    assert str(member) == f"{tmp_path / 'a.zip'}: val/n01/n01_5.JPEG"
