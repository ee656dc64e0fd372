import os
from pathlib import Path

import pytest

from fewbench.benchmark.reporting.site.folder import MARKER, write_site
from fewbench.core.errors import UserError

FILES = {"index.html": b"one", "records/a.html": b"a"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_site_is_written_with_the_list_of_its_files(tmp_path):
    write_site(FILES, tmp_path / "new" / "site")
    assert content(tmp_path / "new") == {
        **{f"site/{name}": text for name, text in FILES.items()},
        f"site/{MARKER}": b"index.html\nrecords/a.html\n",
    }


def test_an_older_site_and_an_empty_folder_are_replaced(tmp_path):
    place = tmp_path / "site"
    place.mkdir()
    write_site(FILES, place)
    write_site({"index.html": b"two"}, place)
    assert content(tmp_path) == {"site/index.html": b"two", f"site/{MARKER}": b"index.html\n"}


@pytest.mark.parametrize("other", ["mine.txt", "records/mine.html", "link"])
def test_a_folder_with_other_files_stays_as_it_is(tmp_path, other):
    place = tmp_path / "site"
    write_site(FILES, place)
    if other == "link":
        (place / other).symlink_to(tmp_path)
    else:
        (place / other).write_bytes(b"mine")
    before = content(tmp_path)
    with pytest.raises(UserError, match=rf"site holds files that are not of a site, such as {other}; name another folder"):
        write_site({"index.html": b"two"}, place)
    assert content(tmp_path) == before and [one.name for one in tmp_path.iterdir()] == ["site"]


def test_a_folder_without_a_marker_is_nobodys_site(tmp_path):
    (tmp_path / "index.html").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"such as index\.html"):
        write_site(FILES, tmp_path)


def test_a_file_is_no_place_for_a_site(tmp_path):
    (tmp_path / "site").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"site: Not a directory"):
        write_site(FILES, tmp_path / "site")


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    with pytest.raises(UserError, match="holds the current folder"):
        write_site(FILES, tmp_path)


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    write_site(FILES, tmp_path / "site")
    before, rename = content(tmp_path), Path.rename

    def fails(self, target):
        if Path(target).name == "site" and not (Path(target).parent / "again").exists():
            (Path(target).parent / "again").touch()
            raise OSError(28, os.strerror(28), str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(UserError, match="No space left on device"):
        write_site({"index.html": b"two"}, tmp_path / "site")
    (tmp_path / "again").unlink()
    assert content(tmp_path) == before and [one.name for one in tmp_path.iterdir()] == ["site"]
