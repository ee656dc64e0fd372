import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.benchmark import registry
from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.commands.main import main
from fewbench.core.cache import MANIFEST
from fewbench.core.files import stamp
from fewbench.tasks.datasets import store
from fewbench.tasks.datasets.folder import Folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path) -> Path:
    for brightness, name in enumerate(("cat", "dog")):
        for number in range(16):
            pixels = np.full((30, 40, 3), 100 * brightness + number, np.uint8)
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def bench(monkeypatch, capsys):
    """Run `bench data …` as typed: exit code, lines of standard output, standard error."""

    def run(*arguments: str) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["bench", "data", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(caught.value.code or 0), [line.rstrip() for line in out.splitlines()], err

    return run


def cells(lines: list[str]) -> list[list[str]]:
    return [line.split() for line in lines]


def test_a_folder_is_prepared_from_a_path(bench, photos):
    code, lines, err = bench("prepare", "folder", "--from", "photos", "--size", "8")
    dataset = Folder(root="photos", size=8)
    assert code == 0 and lines[-1] == str(dataset.folder())
    fingerprint = dataset.split("test").fingerprint
    assert lines[1].split()[-6:] == ["test", "2", "32", "8×8×3", "0", fingerprint[:12]]
    assert f"root={photos} share=1.0 size=8" in lines[1]
    assert "reading folder, test: images" in err


def test_preparing_again_needs_overwrite(bench, photos):
    bench("prepare", "folder", "--set", "root=photos")
    inode = Folder(root="photos").folder().joinpath("test").stat().st_ino
    code, _, err = bench("prepare", "folder", "--from", "photos")
    assert code == 0 and "reading" not in err
    assert Folder(root="photos").folder().joinpath("test").stat().st_ino == inode
    assert "reading" in bench("prepare", "folder", "--from", "photos", "--overwrite")[2]


def test_list_shows_every_dataset_and_what_is_prepared(bench, photos):
    bench("prepare", "folder", "--from", "photos", "--size", "8")
    bench("prepare", "folder", "--from", "photos", "--size", "16", "--set", "train=0.5")
    code, lines, _ = bench("list")
    table = cells(lines)
    assert code == 0 and table[0] == [
        *("dataset", "parameters", "split", "classes", "images", "height×width×channels", "MB", "fingerprint")
    ]
    names = sorted([*BUILT_IN["datasets"], "folder", "folder"])  # which has three lines
    assert [row[0] for row in table[1:]] == names
    assert table[1] == ["cifar-fs", "not", "prepared"]
    splits = [row[row.index("size=16") + 3] for row in table if "size=16" in row]
    assert sorted(splits) == ["test", "train"]
    expected = Folder(root="photos", size=8).split("test").fingerprint[:12]
    assert [row[-1] for row in table if "size=8" in row] == [expected]


def test_list_shows_what_was_interrupted_and_what_is_damaged(bench, photos):
    bench("prepare", "folder", "--from", "photos")
    folder = Folder(root="photos").folder()
    (folder / "test" / MANIFEST).write_text("{}")
    store.entry(folder / "val").unfinished.mkdir()
    rows = [row for row in cells(bench("list")[1]) if row[0] == "folder"]
    assert rows == [
        ["folder", "val:", "interrupted"],
        ["folder", *"test: the folder is damaged, or of another version of fewbench".split()],
    ]


def test_verify_finds_what_a_quick_look_does_not(bench, photos):
    bench("prepare", "folder", "--from", "photos")
    code, lines, _ = bench("verify", "folder", "--set", "root=photos")
    assert code == 0 and cells(lines)[1] == ["folder", "test", "sound"]
    images = Folder(root="photos").folder() / "test" / store.IMAGES
    modified = stamp(images)[1]
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    os.utime(images, ns=(modified, modified))
    assert store.check(images.parent) is None
    code, lines, err = bench("verify", "folder", "--set", "root=photos")
    assert code == 1 and cells(lines)[1][2:] == ["images.npy", "is", "damaged"]
    assert err == "error: folder: test must be prepared again (bench data prepare folder)\n"


def test_path_prints_the_folder_of_what_is_prepared(bench, photos):
    assert bench("path", "folder", "--set", "root=photos")[0::2] == (
        1,
        "error: folder is not prepared; bench data prepare folder does that\n",
    )
    bench("prepare", "folder", "--from", "photos")
    assert bench("path", "folder", "--set", "root=photos") == (0, [str(Folder(root="photos").folder())], "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "mini-imagent", "--from", "photos"], 2, "unknown dataset 'mini-imagent'; did you mean 'mini-imagenet'?"),
        (["prepare", "mini-imagenet"], 1, "mini-imagenet is not prepared and cannot be downloaded"),
        (["prepare", "mini-imagenet", "--from", "nowhere"], 1, "--from nowhere: no such file or folder"),
        (["prepare", "mini-imagenet", "--from", "photos"], 1, "none of the train classes of mini-imagenet is here"),
        (["prepare", "mini-imagenet", "--from", "photos", "--size", "0"], 2, "size=0: at least 1"),
        (["prepare", "cifar-fs", "--from", "photos", "--size", "84"], 2, "cifar-fs has no parameter 'size'; it has none"),
        (["prepare", "trifeature", "--from", "photos"], 2, "trifeature is rendered, not imported"),
        (["prepare", "folder"], 2, "dataset folder needs its images: parameter root=PATH"),
        (["prepare", "folder", "--from", "nowhere"], 1, "no such file or folder"),
        (["prepare", "folder", "--from", "photos", "--set", "root=others"], 2, "--from photos and --set root=others: take one"),
        (["prepare", "photos", "--name", "x", "--set", "root=others"], 2, "--name x of photos and --set root=others: take one"),
        (["prepare", "photos", "--name", "x", "--from", "others"], 2, "--name x: of photos, or --from others? take one"),
        (["prepare", "folder", "--from", "photos", "--size", "8", "--set", "size=9"], 2, "--size 8 and --set size=9: take one"),
        (["verify", "cub-200"], 1, "cub-200 is not prepared"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(bench, photos, own_cache, arguments, code, message):
    returned, _, err = bench(*arguments)
    assert returned == code and message in err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert not own_cache.exists()


def test_photos_get_a_name_and_need_their_folder_no_more(bench, photos, tmp_path):
    code, lines, err = bench("prepare", "photos", "--name", "groceries", "--set", "dataset.train=0.5")
    assert code == 0 and lines == [str(tmp_path / "cache" / "photos" / "groceries")]
    assert "groceries: 2 classes, 32 images" in err
    assert ["groceries", *"kept, prepared when used".split()] in cells(bench("list")[1])
    expected = {size: Folder(root="photos", size=size, train=0.5).prepare() for size in (8, 40)}
    photos.rename(tmp_path / "elsewhere")
    for size, splits in expected.items():
        found = registry.make("datasets", "groceries", {"size": size}).prepare()
        assert {name: split.fingerprint for name, split in found.items()} == {
            name: split.fingerprint for name, split in splits.items()
        }
        assert {split.dataset for split in found.values()} == {"groceries"}
    assert bench("verify", "groceries", "--set", "size=8")[0] == 0
    assert {row[-2] for row in cells(bench("list")[1]) if row[0] == "groceries"} == {"0"}


def test_a_name_is_taken_once_and_replaced_only_on_demand(bench, photos, tmp_path):
    assert bench("prepare", "photos", "--name", "groceries", "--size", "8")[0] == 0
    first = registry.make("datasets", "groceries", {}).split("test")
    for path in (photos / "cat").iterdir():
        path.unlink()
    Image.new("RGB", (30, 40), "red").save(photos / "cat" / "red.png")
    code, _, err = bench("prepare", "photos", "--name", "groceries")
    assert code == 2 and "--overwrite replaces them" in err
    (photos / "dog" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    code, _, err = bench("prepare", "photos", "--name", "groceries", "--overwrite")
    assert code == 1 and f"error: cannot read {photos}/dog/torn.jpg (not an image" in err
    assert registry.make("datasets", "groceries", {}).split("test").fingerprint == first.fingerprint
    (photos / "dog" / "torn.jpg").unlink()
    assert bench("prepare", "photos", "--name", "groceries", "--size", "8", "--overwrite")[0] == 0
    second = registry.make("datasets", "groceries", {}).split("test")
    assert second.fingerprint != first.fingerprint and np.diff(second.offsets).tolist() == [1, 16]
    assert len(list((tmp_path / "cache" / "datasets").iterdir())) == 1  # the photos before have left nothing


@pytest.mark.parametrize("name", ["omniglot", "folder", "a/b", "..", "", "-x", "timm:x", "x" * 61])
def test_a_name_that_cannot_be_is_refused(bench, photos, own_cache, name):
    code, _, err = bench("prepare", "photos", f"--name={name}")
    assert code == 2 and f"--name {name}: " in err and err.count("\n") == 1
    assert not own_cache.exists()


def test_a_damaged_copy_is_one_line(bench, photos, own_cache):
    bench("prepare", "photos", "--name", "groceries")
    (own_cache / "photos" / "groceries" / "photos.zip").write_bytes(b"no")
    code, _, err = bench("verify", "groceries")
    assert code == 1 and "its copy in the cache cannot be read (photos.zip is damaged)" in err and err.count("\n") == 1
    (own_cache / "photos" / "groceries" / MANIFEST).unlink()
    code, _, err = bench("verify", "groceries")
    assert code == 2 and "unknown dataset 'groceries'" in err
