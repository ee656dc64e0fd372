import contextlib
import csv
import functools
import hashlib
import http.server
import io
import os
import socket
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.datasets import omniglot, omniglot_sources, store
from fewbench.tasks.datasets.omniglot import Omniglot
from fewbench.tasks.datasets.omniglot_sources import Character

REAL = Path(os.environ.get("FEWBENCH_SHARED") or Path(__file__).parents[4] / "shared") / "data" / "omniglot"
VAL_FINGERPRINT = "94e6d7f5fd88234243e77546e0bb6e705fbeb0b350c3102b3df3277fd33073a2"

# In neither the order of the rows nor that of the parts.
FEW = [
    Character("Ge_ez", "character10", "evaluation", 0),
    Character("Japanese_(katakana)", "character02", "background", 1),
    Character("Greek", "character01", "background", 0),
]
real_data = pytest.mark.skipif(not (REAL / "characters.csv").is_file(), reason=f"no Omniglot in {REAL}")


@pytest.fixture
def few(monkeypatch):
    """Reduce every split to FEW, and val to the characters of the background part."""
    monkeypatch.setattr(omniglot, "characters", lambda split: FEW if split != "val" else FEW[1:])


@functools.cache
def ink_of(character: Character) -> np.ndarray:
    random = np.random.default_rng([character.row, len(character.part)])
    return random.random((20, 105, 105)) < random.random((20, 1, 1)) * 0.3  # [20, 105, 105], no two drawings alike


def write_npz(folder: Path) -> None:
    folder.mkdir(parents=True)
    for part in ("background", "evaluation"):
        members = sorted((character for character in FEW if character.part == part), key=lambda character: character.row)
        images = np.stack([~ink_of(character) for character in members])
        np.savez_compressed(folder / f"images_{part}.npz", images=images, labels=np.zeros((len(images), 20), np.int64))


def write_tree(folder: Path) -> None:
    for number, character in enumerate(FEW):
        below = folder / f"images_{character.part}" / character.identifier
        below.mkdir(parents=True)
        for drawer, ink in enumerate(ink_of(character), start=1):
            Image.fromarray(~ink).save(below / f"{number + 7:04}_{drawer:02}.png")


def write_zips(folder: Path) -> None:
    write_tree(folder / "unpacked")
    for part in ("background", "evaluation"):
        with zipfile.ZipFile(folder / f"images_{part}.zip", "w") as archive:
            # Last drawer first: the order of the members does not count.
            for file in sorted((folder / "unpacked" / f"images_{part}").glob("*/*/*.png"), reverse=True):
                archive.write(file, file.relative_to(folder / "unpacked").as_posix())
    (folder / "unpacked").rename(folder.parent / "put-away")


def one_line(caught: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("split", "count"), [("train", 1028), ("val", 172), ("test", 423)])
def test_class_list_has_the_published_sizes(split, count):
    upright, rotated = (Omniglot(rotations=rotations).class_list(split) for rotations in (False, True))
    assert len({identifier for identifier, _ in upright}) == len({name for _, name in upright}) == count
    assert len({identifier for identifier, _ in rotated}) == len({name for _, name in rotated}) == 4 * count


def test_splits_share_no_character_and_keep_rotations_together():
    seen = set()
    for split in ("train", "val", "test"):
        identifiers = [identifier for identifier, _ in Omniglot().class_list(split)]
        bases = dict.fromkeys(identifier.rpartition("/")[0] for identifier in identifiers)
        assert identifiers == [f"{base}/rot{degrees}" for base in bases for degrees in ("000", "090", "180", "270")]
        assert not seen & bases.keys()
        seen |= bases.keys()
    assert len(seen) == 1623


def test_class_list_names_classes_readably(few):
    assert Omniglot().class_list("val")[:2] == [
        ("Japanese_(katakana)/character02/rot000", "Japanese (katakana) character02"),
        ("Japanese_(katakana)/character02/rot090", "Japanese (katakana) character02 rotated 90"),
    ]
    assert Omniglot(rotations=False).class_list("val")[0] == (
        "Japanese_(katakana)/character02",
        "Japanese (katakana) character02",
    )


def test_unknown_split_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean 'test'"):
        Omniglot().class_list("tset")


def fingerprint_of(source: Path) -> str:
    return Omniglot().prepare(source, ["test"], again=True)["test"].fingerprint


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


def test_images_are_shrunk_ink_turned_as_rot90_does(few, tmp_path):
    write_npz(tmp_path / "copy")
    turned = Omniglot().prepare(tmp_path / "copy", ["test"])["test"]
    upright = Omniglot(rotations=False).prepare(tmp_path / "copy", ["test"])["test"]
    rows = iter(turned.images)
    for i, character in enumerate(FEW):
        drawings = [Image.fromarray(ink).convert("L") for ink in ink_of(character)]
        small = [np.asarray(drawing.resize((28, 28), Image.Resampling.BILINEAR)) for drawing in drawings]
        np.testing.assert_array_equal(upright.images[20 * i : 20 * i + 20, :, :, 0], small)
        for turns in range(4):
            for drawing in small:
                np.testing.assert_array_equal(next(rows)[:, :, 0], np.rot90(drawing, turns))
    assert upright.class_ids == tuple(character.identifier for character in FEW)


def test_ink_is_white_and_paper_black():
    strokes = np.zeros((2, 105, 105), bool)
    strokes[1, :, :60] = True
    small = omniglot.shrink(strokes)
    assert not small[0].any()
    assert (small[1, :, :15] == 255).all() and not small[1, :, 17:].any()


def test_sources_name_class_and_drawer_of_each_row(few, tmp_path, listener):
    write_npz(tmp_path / "copy")
    sources = Omniglot().contents("test", tmp_path / "copy", listener).sources
    assert len(sources) == 3 * 4 * 20
    assert sources[25] == "Ge_ez/character10/rot090 drawer 06"


def test_progress_counts_characters(few, tmp_path, listener):
    write_npz(tmp_path / "copy")
    Omniglot().prepare(tmp_path / "copy", ["test"], listener)
    assert listener.bars == [["reading omniglot, test: characters", 3, 3]]


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


@real_data
def test_class_list_and_rows_are_those_of_the_published_lists():
    for split in ("train", "val", "test"):
        published = (REAL / "splits_vinyals" / f"{split}.txt").read_text().split()
        assert [identifier for identifier, _ in Omniglot().class_list(split)] == published
    with (REAL / "characters.csv").open() as file:
        rows = {(row["alphabet"], row["character"], row["part"], int(row["row"])) for row in csv.DictReader(file)}
    listed = [character for split in ("train", "val", "test") for character in omniglot.characters(split)]
    assert {(character.alphabet, character.name, character.part, character.row) for character in listed} == rows


@real_data
def test_real_drawings_are_those_known():
    split = Omniglot().prepare(REAL, ["val"])["val"]
    assert split.fingerprint == VAL_FINGERPRINT
    assert split.images.shape == (172 * 4 * 20, 28, 28, 1)
    density = np.asarray(split.images).reshape(len(split.class_ids), -1).mean(axis=1) / 255  # [classes]
    assert 0.02 < density.min() and density.max() < 0.4
