import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets import store
from fewbench.tasks.datasets.folder import Folder
from fewbench.tasks.datasets.reading.image_files import Square

PLAIN = {"fit": "crop", "filter": "bicubic", "share": 1.0, "train": 0.0, "val": 0.0, "min_images": 1}


@pytest.fixture
def root(tmp_path, png) -> Path:
    """Ten classes of two images."""
    for number in range(10):
        folder = tmp_path / "my photos" / ("animals" if number % 2 else "things") / f"class_{number}"
        folder.mkdir(parents=True)
        for image in range(2):
            (folder / f"{image}.png").write_bytes(png(number, image))
    return tmp_path / "my photos"


def test_all_classes_are_test_classes_by_default(root, pixels):
    dataset = Folder(root=str(root), size=8)
    assert dataset.own_splits() == ("test",)
    split = dataset.split("test")
    assert split.class_ids[:2] == ("animals/class_1", "animals/class_3") and split.class_names[:2] == ("class 1", "class 3")
    expected = [pixels(number, image) for number in (1, 3, 5, 7, 9, 0, 2, 4, 6, 8) for image in range(2)]
    np.testing.assert_array_equal(split.images, expected)
    with pytest.raises(UserError, match=r"no class is in the split train \(0 in val, 10 in test\); parameters train and val"):
        dataset.split("train")


def test_folders_above_the_classes_are_a_taxonomy(root):
    ids = [class_id for class_id, _ in Folder(root=str(root)).class_list("test")]
    members = Folder(root=str(root)).taxonomy("test").members(ids)
    assert members["animals"].tolist() == [0, 1, 2, 3, 4] and members["things"].tolist() == [5, 6, 7, 8, 9]


def test_a_table_of_parents_may_be_the_taxonomy(root, tmp_path):
    ids = [class_id for class_id, _ in Folder(root=str(root)).class_list("test")]
    rows = [f"{class_id},{'even' if int(class_id[-1]) % 4 == 0 else 'other'}\n" for class_id in ids]
    (tmp_path / "parents.csv").write_text("class,parent\n" + "".join(rows))
    dataset = Folder(root=str(root), parents=str(tmp_path / "parents.csv"))
    assert dataset.taxonomy("test").members(ids)["even"].tolist() == [5, 7, 9]
    assert dataset.folder() == Folder(root=str(root)).folder()
    (tmp_path / "parents.csv").write_text("class,parent\n" + "".join(rows[1:]))
    with pytest.raises(UserError, match=r"animals/class_1"):
        dataset.taxonomy("test")


def test_classes_side_by_side_have_no_taxonomy(root):
    with pytest.raises(UserError, match="folder has no class taxonomy"):
        Folder(root=str(root / "animals")).taxonomy("test")


def test_fractions_divide_the_classes(root):
    dataset = Folder(root=str(root), size=8, train=0.5, val=0.2)
    prepared = dataset.prepare()
    assert [len(split.class_ids) for split in prepared.values()] == [5, 2, 3]
    assert len({class_id for split in prepared.values() for class_id in split.class_ids}) == 10
    with pytest.raises(UsageError, match=r"train=0.9, val=0.2: fractions of the classes"):
        Folder(root=str(root), train=0.9, val=0.2)
    with pytest.raises(UsageError, match="from 0 to 1"):
        Folder(root=str(root), train=-0.1)


def test_a_split_that_is_given_is_kept_and_fractions_beside_it_refused(root):
    (root / "animals").rename(root / "train")
    (root / "things").rename(root / "test")
    dataset = Folder(root=str(root), size=8)
    assert dataset.own_splits() == ("train", "test")
    assert dataset.class_list("train")[0] == ("class_1", "class 1")
    with pytest.raises(UsageError, match="gives the class split itself; leave train and val out"):
        Folder(root=str(root), train=0.5).own_splits()


def test_every_root_and_choice_of_parameters_has_its_own_folder(root, tmp_path):
    choices = [(place, size, train) for place in (root, tmp_path) for size in (8, 84) for train in (0, 0.5)]
    assert len({Folder(root=str(place), size=size, train=train).folder() for place, size, train in choices}) == 8
    assert Folder(root=str(root)).folder().name.startswith("folder-2-my_photos-")
    assert Folder(root=os.path.relpath(root)).folder() == Folder(root=str(root)).folder()


def test_changed_images_are_prepared_again(root, png, listener):
    Folder(root=str(root), size=8).split("test")
    assert Folder(root=str(root), size=8).problem("test") is None
    (root / "things" / "class_0" / "2.png").write_bytes(png(50))
    dataset = Folder(root=str(root), size=8)
    assert len(dataset.split("test", listener).images) == 21
    assert listener.said[0].endswith("have changed since it was prepared; building it again")
    status = (root / "things" / "class_0" / "2.png").stat()
    (root / "things" / "class_0" / "2.png").write_bytes(png(60))
    os.utime(root / "things" / "class_0" / "2.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert "have changed" in str(Folder(root=str(root), size=8).problem("test"))


def same_size(path: Path, grey: int) -> None:
    """Write an image whose file is as large and as old as all of its kind, as out of an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(path)
    os.utime(path, ns=(10**18, 10**18))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_changes_that_keep_size_and_time_are_seen(tmp_path: Path, packed: bool):
    photos, archive = tmp_path / "photos", tmp_path / "photos.tar"

    def greys() -> list[int]:
        if packed:
            with tarfile.open(archive, "w") as file:
                file.add(photos, arcname="photos")
            os.utime(archive, ns=(10**18, 10**18))
        return Folder(root=str(archive if packed else photos), size=8).split("test").images[:, 0, 0, 0].tolist()

    for number, name in enumerate(("ash", "birch")):
        same_size(photos / name / "leaf.bmp", 10 + number)
    assert greys() == [10, 11]
    same_size(photos / "birch" / "leaf.bmp", 90)
    assert greys() == [10, 90]
    for before, after in (("ash", "kept"), ("birch", "ash"), ("kept", "birch")):
        (photos / before).rename(photos / after)
    assert greys() == [90, 10]


def test_a_prepared_folder_outlives_its_images(root):
    before = Folder(root=str(root), size=8).split("test")
    classes = Folder(root=str(root), size=8).class_list("test")
    shutil.rmtree(root)
    after = Folder(root=str(root), size=8)
    assert after.split("test").fingerprint == before.fingerprint
    assert after.class_list("test") == classes
    with pytest.raises(UserError, match="no such file or folder"):
        after.class_list("val")


def test_classes_with_few_images_and_folders_without_are_reported(root, listener):
    (root / "empty").mkdir()
    Folder(root=str(root), size=8).split("test", listener)
    assert listener.said == [
        f"root={root}: 10 classes, 20 images; folders above the classes read as their taxonomy; left out: folders without an "
        "image (empty); class 'animals/class_1' has 2 images, 9 more have fewer than 16; shots and queries together cannot "
        "be more"
    ]


def test_identical_pictures_are_said_by_the_names_of_their_classes(root, png, listener):
    """Their files differ; only the pictures that are made of them are the same."""
    for image in range(2):
        (root / "animals" / "class_1" / f"{image}.png").write_bytes(png(0, image) + b"1")
    (root / "animals" / "class_3" / "2.png").write_bytes(png(3, 1) + b"1")
    Folder(root=str(root), size=8).split("test", listener)
    assert listener.said[0].endswith(
        "; animals/class_1, things/class_0 hold 2 identical pictures; a picture occurs twice within a class"
    )
    Folder(root=str(root), size=8).split("test", listener)
    assert listener.said[1] == listener.said[0]  # also where it was prepared before


def test_copies_of_a_file_are_left_out_and_said(root, png, listener):
    """One stays in a class; a photo in two classes is in none, so that no query is known from the support."""
    (root / "animals" / "class_3" / "copy.png").write_bytes(png(3, 1))
    (root / "animals" / "class_1" / "0.png").write_bytes(png(0, 0))
    split = Folder(root=str(root), size=8).split("test", listener)
    assert np.diff(split.offsets).tolist() == [1, 2, 2, 2, 2, 1, 2, 2, 2, 2]
    assert (
        "copies of photos are left out: animals/class_3/copy.png is animals/class_3/1.png; photos in several classes are left "
        "out: things/class_0/0.png is animals/class_1/0.png"
    ) in listener.said[0]
    Folder(root=str(root), size=8).split("test", listener)
    assert "3 copies of photos are left out" in listener.said[1]
    (root / "animals" / "class_1" / "1.png").write_bytes(png(0, 1))
    with pytest.raises(UserError, match="all images of class 'animals/class_1' are also in other classes"):
        Folder(root=str(root), size=8).split("test")


def test_small_classes_are_left_out_and_said(root, png, listener):
    for name in ("animals/class_1", "things/class_0"):
        (root / name / "2.png").write_bytes(png(99, len(name)))
    dataset = Folder(root=str(root), size=8, min_images=3)
    assert dataset.split("test", listener).class_ids == ("animals/class_1", "things/class_0")
    assert "classes with fewer than 3 images are left out (animals/class_3, " in listener.said[0]
    with pytest.raises(UserError, match="no class has min_images=4 images"):
        Folder(root=str(root), size=8, min_images=4).own_splits()


def test_classes_may_come_from_file_names(tmp_path, png, listener):
    (tmp_path / "all" / "more").mkdir(parents=True)
    for number, name in enumerate(["cat_1.png", "dog_1.png", "more/cat_2.PNG", "Zürich 1.png", "readme.txt"]):
        (tmp_path / "all" / name).write_bytes(png(number) if "read" not in name else b"text")
    dataset = Folder(root=str(tmp_path / "all"), size=8, pattern=r"(?P<label>[a-z]+)_\d+")
    assert np.diff(dataset.split("test", listener).offsets).tolist() == [2, 1]
    assert "classes from file names; left out: 1 .txt, 1 that the pattern does not match (Zürich 1.png)" in listener.said[0]
    for wrong, message in [
        ("(", "no regular expression"),
        ("a+", "no group label"),
        ("(?P<label>x)", "no name of its 4 images"),
    ]:
        with pytest.raises(UserError, match=message):
            Folder(root=str(tmp_path / "all"), pattern=wrong).own_splits()


def test_damaged_images_are_named_and_nothing_is_left(root):
    (root / "things" / "class_0" / "1.png").write_bytes(b"\x89PNG")
    dataset = Folder(root=str(root), size=8)
    with pytest.raises(UserError, match=r"cannot read .*things/class_0/1\.png \(not an image of a known format\)"):
        dataset.split("test")
    assert dataset.problem("test") == store.ABSENT and not list(dataset.folder().iterdir())


def test_names_that_are_not_unique_stay_whole(tmp_path, png):
    for name in ("cars/jaguar", "cats/jaguar"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.png").write_bytes(png(1))
    assert Folder(root=str(tmp_path), class_folder="inner").class_list("test") == [("cars/jaguar",) * 2, ("cats/jaguar",) * 2]


def test_the_manifest_names_the_place_in_full(root):
    Folder(root=os.path.relpath(root), size=8).split("test")
    prepared = store.prepared(Folder(root=str(root), size=8).folder() / "test")
    assert prepared is not None
    assert prepared.about.origin.parameters == {"root": str(root), "size": 8, **PLAIN}
    assert prepared.about.origin.source.startswith(f"{root} (")


def test_a_root_is_needed_and_a_source_is_not():
    with pytest.raises(UsageError, match="dataset folder needs its images: parameter root=PATH"):
        Folder().split("test")
    with pytest.raises(UsageError, match="--from photos"):
        Folder(root="x").contents("test", Path("photos"), SILENT)


def test_records_name_how_folders_are_read_only_where_it_was_chosen(root):
    plain = {"root": str(root), "size": 84, **PLAIN, "parents": ""}
    assert Folder(root=str(root)).recorded_parameters() == plain
    assert Folder(root=str(root), class_folder="inner").recorded_parameters() == {**plain, "class_folder": "inner"}


@pytest.mark.parametrize(("fit", "left", "top"), [("crop", 200, 200), ("letterbox", 200, 127), ("squash", 200, 200)])
def test_a_wide_photo_becomes_square(tmp_path, fit, left, top):
    """40 × 20 pixels, of which the outer quarters are black: a crop keeps the bright middle alone."""
    wide = np.full((20, 40, 3), 200, np.uint8)
    wide[:, :10] = wide[:, 30:] = 0
    for brightness, name in enumerate(("a", "b")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(wide + np.uint8(brightness)).save(tmp_path / "photos" / name / "wide.png")
    image = Folder(root=str(tmp_path / "photos"), size=20, fit=fit).split("test").images[0]
    assert abs(int(image[10, 10, 0]) - left) < 3
    assert abs(int(image[1, 10, 0]) - top) < 3
    assert (image[10, 1, 0] > 190) == (fit == "crop")


def test_the_backbone_decides_the_size_where_nobody_does(root):
    wanted = Square(24, "crop", "bilinear", 0.5)
    assert Folder(root=str(root)).for_backbone(wanted).split("test").images.shape[1:] == (24, 24, 3)
    assert Folder(root=str(root), fit="letterbox").for_backbone(wanted).square == replace(wanted, fit="letterbox")
    chosen = Folder(root=str(root), size=8, filter="box", share=0.9)
    assert chosen.for_backbone(wanted) == chosen
    assert Folder(root=str(root)).recorded_parameters()["size"] == 84
