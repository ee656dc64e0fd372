"""Where Omniglot's drawings come from: each form of a copy, spoilt copies, and the download."""

import contextlib
import functools
import hashlib
import http.server
import io
import socket
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.core.errors import UserError
from fewbench.tasks.datasets import omniglot_sources, store
from fewbench.tasks.datasets.omniglot import Omniglot

from .conftest import fingerprint_of, one_line, write_npz, write_tree, write_zips


@pytest.mark.parametrize(
    ("write", "place", "given"),
    [
        (write_npz, "copy", "copy/images_evaluation.npz"),
        (write_zips, "copy", "copy"),
        (write_zips, "copy", "copy/images_background.zip"),
        (write_tree, "copy", "copy"),
        (write_tree, "copy/python", "copy"),
    ],
)
def test_every_form_gives_the_same_images(few, tmp_path, write, place, given):
    write_npz(tmp_path / "npz")
    write(tmp_path / place)
    assert fingerprint_of(tmp_path / given) == fingerprint_of(tmp_path / "npz")


def test_only_the_part_a_split_needs_is_asked_for(few, tmp_path):
    write_npz(tmp_path / "copy")
    (tmp_path / "copy" / "images_evaluation.npz").unlink()
    assert len(Omniglot().prepare(tmp_path / "copy", ["val"])["val"].class_ids) == 8


def test_zip_members_with_unsafe_paths_are_ignored(few, tmp_path):
    write_zips(tmp_path / "copy")
    blank = io.BytesIO()
    Image.new("1", (105, 105)).save(blank, "PNG")
    with zipfile.ZipFile(tmp_path / "copy" / "images_background.zip", "a") as archive:
        for start in ("../", "/", "C:\\", "__MACOSX/", "images_background/../"):
            archive.writestr(f"{start}images_background/Greek/character01/0009_01.png", blank.getvalue())
        archive.writestr("images_background/Greek/character01/._0009_01.png", blank.getvalue())
    write_tree(tmp_path / "clean")
    assert fingerprint_of(tmp_path / "copy") == fingerprint_of(tmp_path / "clean")


def remove_drawings(folder: Path) -> None:
    for file in folder.glob("images_background/*/*/*_05.png"):
        file.unlink()


def remove_a_part(folder: Path) -> None:
    (folder / "images_evaluation.zip").unlink()


def shorten_npz(folder: Path) -> None:
    np.savez(folder / "images_background.npz", images=np.ones((1, 20, 105, 105), bool))


def reshape_npz(folder: Path) -> None:
    np.savez(folder / "images_background.npz", images=np.ones((2, 20, 28, 28), bool))


def pickle_npz(folder: Path) -> None:
    np.savez(folder / "images_background.npz", images=np.array([{}]))


def cut_npz(folder: Path) -> None:
    path = folder / "images_evaluation.npz"
    path.write_bytes(path.read_bytes()[:-500])


def damage_npz(folder: Path) -> None:
    path = folder / "images_evaluation.npz"
    path.write_bytes(path.read_bytes()[:5000] + b"damage" + path.read_bytes()[5006:])


def replace_zip(folder: Path) -> None:
    (folder / "images_background.zip").write_bytes(b"<html>not found</html>")


def damage_zip(folder: Path) -> None:
    path = folder / "images_background.zip"
    path.write_bytes(path.read_bytes()[:2000] + b"damage" + path.read_bytes()[2006:])


def damage_png(folder: Path) -> None:
    next(folder.glob("images_evaluation/*/*/*_03.png")).write_bytes(b"\x89PNG\r\n\x1a\n and no more")


def enlarge_png(folder: Path) -> None:
    Image.new("1", (210, 210)).save(next(folder.glob("images_evaluation/*/*/*_03.png")))


@pytest.mark.parametrize(
    ("write", "spoil", "message"),
    [
        (write_tree, remove_drawings, "2 of 3 characters lack drawings, the first is images_background/Japanese_"),
        (write_zips, remove_a_part, "1 of 3 characters lack drawings, the first is images_evaluation/Ge_ez/character10"),
        (write_npz, shorten_npz, "1 of 3 characters lack drawings, the first is images_background/Japanese_"),
        (write_npz, reshape_npz, "images are bool [2, 20, 28, 28], not bool [characters, 20, 105, 105]"),
        (write_npz, pickle_npz, "images are object [1], not bool"),
        (write_npz, cut_npz, "images_evaluation.npz: cannot read it"),
        (write_npz, damage_npz, "images_evaluation.npz: cannot read it"),
        (write_zips, replace_zip, "images_background.zip: cannot read it"),
        (write_zips, damage_zip, "images_background.zip: cannot read images_background/"),
        (write_tree, damage_png, "cannot read images_evaluation/Ge_ez/character10/0007_03.png"),
        (write_tree, enlarge_png, "0007_03.png is not of 105×105 pixels"),
    ],
)
def test_a_bad_source_is_one_line_and_leaves_nothing(few, tmp_path, write, spoil, message):
    write(tmp_path / "copy")
    spoil(tmp_path / "copy")
    with pytest.raises(UserError) as caught:
        Omniglot().prepare(tmp_path / "copy", ["test"])
    assert message in one_line(caught)
    assert store.check(Omniglot().folder() / "test") == store.ABSENT


def test_a_source_that_is_not_there_or_holds_something_else_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"--from .*nowhere: no such file or folder") as caught:
        Omniglot().prepare(tmp_path / "nowhere", ["val"])
    one_line(caught)
    (tmp_path / "photographs").mkdir()
    with pytest.raises(UserError, match=r"--from .*photographs: no Omniglot here; expected images_background") as caught:
        Omniglot().prepare(tmp_path / "photographs", ["val"])
    one_line(caught)


def test_without_network_the_first_failure_is_the_last(monkeypatch, capfd):
    asked = []

    def closed(host, *arguments, **options):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", closed)
    with pytest.raises(UserError) as caught:
        Omniglot().split("val")
    message = one_line(caught)
    assert message.startswith("omniglot is not prepared and could not be downloaded (images_background.zip: ConnectionError)")
    assert "`bench data prepare omniglot --from PATH`" in message
    assert len(asked) == 1
    assert capfd.readouterr() == ("", "")


@contextlib.contextmanager
def served(folder: Path):
    """Serve a folder on this machine; yields the address and the list of requests."""
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *arguments):
            requests.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
        server.shutdown()


def test_download_is_checked_kept_and_silent(few, tmp_path, monkeypatch, capfd):
    write_zips(tmp_path / "server")
    md5 = {
        part: hashlib.md5((tmp_path / "server" / f"images_{part}.zip").read_bytes()).hexdigest()
        for part in omniglot_sources.MD5
    }
    monkeypatch.setenv("NO_PROXY", "*")
    with served(tmp_path / "server") as (address, requests):
        monkeypatch.setattr(omniglot_sources, "URL", address)
        with pytest.raises(UserError, match=r"could not be downloaded \(images_background.zip: wrong hash\)"):
            Omniglot().split("test")
        monkeypatch.setattr(omniglot_sources, "MD5", md5)
        downloaded = Omniglot().split("test")
        Omniglot(rotations=False).split("test")
        assert requests == ["/images_background.zip", "/images_background.zip", "/images_evaluation.zip"]
    assert capfd.readouterr() == ("", "")
    write_npz(tmp_path / "copy")
    assert downloaded.fingerprint == fingerprint_of(tmp_path / "copy")
