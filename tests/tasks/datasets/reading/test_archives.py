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


def write_special(path: Path, *members: tuple[bytes, str, str]) -> TarFiles:
    """A tar file of one picture a/1.jpg and of members of other types that lead to something."""
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo("./a/1.jpg")
        info.size = 3
        file.addfile(info, io.BytesIO(b"one"))
        for kind, name, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            file.addfile(info)
    return TarFiles(path)


def test_links_in_a_tar_file_stand_for_the_files_that_they_lead_to(tmp_path):
    links = (tarfile.SYMTYPE, "b/2.jpg", "../a/1.jpg"), (tarfile.LNKTYPE, "b/3.jpg", "./a/1.jpg")
    assert contents(write_special(tmp_path / "a.tar", *links)) == dict.fromkeys(("a/1.jpg", "b/2.jpg", "b/3.jpg"), b"one")


@pytest.mark.parametrize(
    ("kind", "target", "says"),
    [
        (tarfile.SYMTYPE, "/etc/passwd", "a link to '/etc/passwd', which is not a file of the archive"),
        (tarfile.SYMTYPE, "x.jpg", "a link to 'x.jpg'"),
        (tarfile.LNKTYPE, "a/9.jpg", "a link to 'a/9.jpg'"),
        (tarfile.FIFOTYPE, "", "a pipe, a device"),
        (tarfile.CHRTYPE, "", "a pipe, a device"),
    ],
)
def test_what_is_no_file_in_a_tar_file_is_named(kind, target, says, tmp_path):
    holder = write_special(tmp_path / "a.tar", (kind, "x.jpg", target))
    with pytest.raises(UserError) as caught:
        holder.members(every)
    assert f"its member 'x.jpg' is {says}" in str(caught.value)
    assert [member.name for member in holder.members(lambda name: name != "x.jpg")] == ["a/1.jpg"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_listed_twice_is_damage(kind, tmp_path):
    holder = MAKERS[kind](tmp_path, {"a.jpg": b"one"})
    adding = zipfile.ZipFile(holder.path, "a") if kind == "zip" else tarfile.open(holder.path, "a")
    with adding as file:
        file.writestr("a.jpg", b"two") if isinstance(file, zipfile.ZipFile) else file.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(UserError, match=r"it is damaged, its member 'a\.jpg' is listed twice"):
        holder.members(every)


@pytest.mark.parametrize("blocks", [2, 4, 5])
def test_a_tar_file_without_its_end_is_damaged_wherever_it_was_cut(blocks, tmp_path):
    holder = write_tar(tmp_path / "a.tar", {f"{number}.jpg": b"x" for number in range(3)})
    holder.path.write_bytes(holder.path.read_bytes()[: blocks * 512])
    with pytest.raises(UserError, match=r"cannot read .*a\.tar: it is damaged"):
        holder.members(every)


def test_an_inner_tar_file_that_was_cut_takes_nothing_of_the_outer(tmp_path):
    inner = write_tar(tmp_path / "n01.tar", {"1.jpg": b"x"}).path.read_bytes()
    outer = write_tar(tmp_path / "train.tar", {"n01.tar": inner[:1024], "n02.tar": inner})
    with pytest.raises(UserError, match=r"cannot read .*train\.tar"):
        outer.members(every)


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


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("zip", cut),
        ("tar", cut),
        ("tgz", cut),
        ("bz2", cut),
        ("xz", cut),
        ("zip", overwrite),
        ("tar", overwrite),
        ("tgz", overwrite),
    ],
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


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_names_in_a_zip_file_need_no_flag_for_utf_8(encoding, tmp_path):
    """Info-ZIP and macOS leave the flag out; older Windows writes cp437."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("?" * len("große Hunde".encode(encoding)) + "/1.jpg", b"photo")
    path.write_bytes(path.read_bytes().replace(b"?" * len("große Hunde".encode(encoding)), "große Hunde".encode(encoding)))
    holder = ZipFiles(path)
    (member,) = holder.members(lambda name: True)
    assert member.name == "große Hunde/1.jpg"
    with holder.opened() as read:
        assert read(member) == b"photo"
