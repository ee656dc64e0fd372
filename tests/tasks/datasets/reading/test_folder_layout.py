import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.reading.folder_layout import Choices, Layout, split_by_fraction, split_meant
from fewbench.tasks.datasets.reading.image_files import formats
from fewbench.tasks.datasets.reading.root import read_layout as read_with


def read_layout(root: Path, **choices) -> Layout:
    return read_with(root, Choices(**choices))


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(layout: Layout) -> dict[str, list[str]]:
    return {class_id: [member.name for member in members] for class_id, members in layout.classes.items()}


def test_a_folder_a_class_is_sorted(tmp_path):
    layout = read_layout(make(tmp_path, "dog/b.jpg", "dog/a.PNG", "cat/1.jpeg", "cat/notes.txt", "stray.jpg"))
    assert list(names(layout).items()) == [("cat", ["cat/1.jpeg"]), ("dog", ["dog/a.PNG", "dog/b.jpg"])]
    assert layout.splits is None and str(layout) == "2 classes, 3 images; left out: 1 .txt, 1 loose"


def test_folders_in_folders_are_identifiers_with_all_parts(tmp_path):
    layout = read_layout(make(tmp_path, "animals/dogs/husky/1.jpg", "animals/dogs/pug/2.jpg", "cars/3.jpg"))
    assert list(layout.classes) == ["animals/dogs/husky", "animals/dogs/pug", "cars"]
    assert str(layout) == "3 classes, 3 images; folders above the classes read as their taxonomy"


@pytest.mark.parametrize(
    ("files", "doubt"),
    [
        (["a/s1/1.jpg", "a/s2/2.jpg", "b/s1/3.jpg"], "folders of the same name are in several folders (a/s1, b/s1)"),
        (["a/Left/1.jpg", "b/left/2.jpg", "b/right/2.jpg"], "folders of the same name are in several folders (a/Left, b/left)"),
        (
            ["a/train/1.jpg", "a/test/2.jpg", "b/train/3.jpg"],
            "folders of the same name are in several folders (a/train, b/train)",
        ),
        (["a/1.jpg", "a/more/2.jpg", "b/3.jpg"], "'a' holds images and folders with images, as 'a/more'"),
        (["a/2021-03-01/1.jpg", "b/2021-04-01/2.jpg"], "folders in folders are called by numbers (a/2021-03-01, b/2021-04-01)"),
        (["a/a_1/1.jpg", "a/a_2/1.jpg", "b/b_3/2.jpg"], "folders in folders are called by numbers (a/a_1, a/a_2 and 1 more)"),
        (["train/a/s1/1.jpg", "train/b/s1/1.jpg", "test/c/s1/2.jpg"], "folders of the same name are in several folders"),
    ],
)
def test_folders_that_may_be_parts_of_classes_are_asked_about(tmp_path, files, doubt):
    root = make(tmp_path / "photos", *files)
    with pytest.raises(UserError) as caught:
        read_layout(root)
    assert f"root={root}: {doubt}" in str(caught.value) and "--set dataset.class_folder=outer" in str(caught.value)
    outer, inner = read_layout(root, class_folder="outer"), read_layout(root, class_folder="inner")
    assert set(outer.classes) <= {"a", "b", "c"} and set(inner.classes) != set(outer.classes)
    assert sum(map(len, outer.classes.values())) == sum(map(len, inner.classes.values())) == len(files)


def test_the_reading_that_was_chosen_is_said(tmp_path):
    layout = read_layout(make(tmp_path, "a/s1/1.jpg", "a/s2/2.jpg", "b/s1/3.jpg"), class_folder="outer")
    assert str(layout) == "2 classes, 3 images; folders below those at the top read as parts of a class (3 folders)"


def test_train_val_and_test_at_the_top_are_class_splits(tmp_path):
    layout = read_layout(make(tmp_path, "train/dogs/husky/1.jpg", "test/cat/2.jpg", "train/ant/3.jpg"))
    assert names(layout) == {"ant": ["train/ant/3.jpg"], "cat": ["test/cat/2.jpg"], "dogs/husky": ["train/dogs/husky/1.jpg"]}
    assert layout.splits == {"ant": "train", "cat": "test", "dogs/husky": "train"}
    assert layout.read_as[0] == "folders train, test read as class splits"


@pytest.mark.parametrize(
    "tops",
    [("training", "validation", "testing"), ("Train", "VALID", "Test"), ("train_set", "dev", "eval2017"), ("train", "test")],
)
@pytest.mark.parametrize("around", ["", "photos/"])
def test_the_same_classes_in_every_split_are_image_splits(tmp_path, tops, around):
    layout = read_layout(make(tmp_path, *(f"{around}{top}/{name}/1.jpg" for top in tops for name in ("dog", "cat"))))
    assert list(layout.classes) == ["cat", "dog"] and layout.splits is None
    assert str(layout) == f"2 classes, {2 * len(tops)} images; folders {', '.join(tops)} read as image splits"


def test_other_words_for_class_splits_are_understood(tmp_path):
    layout = read_layout(make(tmp_path, "Training/dog/1.jpg", "valid/ant/1.jpg", "testing/cat/2.jpg", "testing/3.jpg"))
    assert layout.splits == {"ant": "val", "cat": "test", "dog": "train"}
    assert layout.left_out == ["1 loose"]
    assert [split_meant(name) for name in ("trainer", "value", "contest", "tests", "c0", "")] == [None] * 6


def test_options_decide_what_split_folders_are(tmp_path):
    some = make(tmp_path / "some", "train/dog/1.jpg", "train/ant/1.jpg", "test/dog/2.jpg")
    assert list(read_layout(some, split_folders="images").classes) == ["ant", "dog"]
    vehicles = make(tmp_path / "vehicles", "train/1.jpg", "plane/2.jpg")
    assert list(read_layout(vehicles, split_folders="none").classes) == ["plane", "train"]
    twice = make(tmp_path / "twice", "dev/dog/1.jpg", "val/cat/2.jpg")
    assert list(read_layout(twice, split_folders="images").classes) == ["cat", "dog"]


def test_an_archive_is_read_like_the_folder_that_was_packed(tmp_path):
    for name, members in (("a.zip", ["dog/1.jpg", "cat/2.jpg"]), ("b.zip", ["photos/dog/1.jpg", "photos/cat/2.jpg"])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in members:
                archive.writestr(member, b"")
        assert list(read_layout(tmp_path / name).classes) == ["cat", "dog"]
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("photos/train/dog/1.jpg", b"")
        archive.writestr("photos/test/cat/1.jpg", b"")
    assert read_layout(tmp_path / "c.zip").splits == {"dog": "train", "cat": "test"}
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("dog/1.jpg", b"")
    assert list(read_layout(tmp_path / "d.zip").classes) == ["dog"]


def test_folders_without_an_image_are_noted(tmp_path):
    root = make(tmp_path, "dog/1.jpg", "notes/readme.txt", ".git/1.jpg")
    (root / "cat").mkdir()
    assert read_layout(root).left_out == ["1 .txt", "folders without an image (cat, notes)"]


def test_pictures_are_known_by_their_content_where_the_suffix_does_not_say(tmp_path, png):
    make(tmp_path, "dog/a.jfif", "dog/b.JPE", "dog/notes.heic", "dog/P2", "cat/empty")
    for name in ("dog/c.photo", "cat/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(1))
    (tmp_path / "dog" / "P2").write_bytes(b"P2P of the week")
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    for form in {"AVIF", "WEBP"} & set(formats()):
        picture.save(tmp_path / "cat" / f"{form}.bin", form)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(tmp_path.glob("*/*")):
            archive.write(path, path.relative_to(tmp_path))
    for root in (tmp_path, tmp_path / "all.zip"):
        layout = read_layout(root)
        assert len(layout.classes["cat"]) == 1 + len({"AVIF", "WEBP"} & set(formats()))
        assert [member.name for member in layout.classes["dog"]] == ["dog/a.jfif", "dog/b.JPE", "dog/c.photo"]
        assert {"1 .heic", "1 P2", "1 empty"} <= set(layout.left_out[0].split(", "))


@pytest.mark.parametrize("kind", ["pipe", "nowhere", "itself", "circle"])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, kind):
    odd = make(tmp_path / "photos", "dog/1.jpg") / "dog" / f"{kind}.jpg"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"nowhere": "gone.jpg", "itself": odd.name, "circle": "back"}[kind])
    if kind == "circle":
        (odd.parent / "back").symlink_to(odd.name)
    with pytest.raises(UserError) as caught:
        read_layout(tmp_path / "photos")
    assert str(caught.value).startswith(f"cannot read {odd.parent}/")


def test_a_folder_in_a_circle_is_read_once(tmp_path):
    (make(tmp_path, "dog/1.jpg") / "dog" / "more").symlink_to(tmp_path)
    assert names(read_layout(tmp_path)) == {"dog": ["dog/1.jpg"]}


def write_csv(tmp_path: Path, text: str) -> Path:
    make(tmp_path, "a.jpg", "more/b.jpg", "c.jpg")
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    return tmp_path / "list.csv"


@pytest.mark.parametrize(
    "header",
    [
        *("file,label", "\ufeffFilename, Label", "path,class", "image,label"),
        *("image_id,category", "IMG,species", "x,y", "x,label"),
    ],
)
def test_a_csv_file_names_images_and_classes(tmp_path, header):
    layout = read_layout(write_csv(tmp_path, f"{header}\nmore/b.jpg,dog\na.jpg,dog\nc.jpg,cat\n"))
    assert names(layout) == {"cat": ["c.jpg"], "dog": ["a.jpg", "more/b.jpg"]}
    assert layout.splits is None


def test_a_csv_file_may_give_the_class_split_and_absolute_paths(tmp_path):
    layout = read_layout(write_csv(tmp_path, f"label,split,file\ndog,train,{tmp_path}/a.jpg\ncat,val,c.jpg\n"))
    assert layout.splits == {"dog": "train", "cat": "val"}
    member = layout.classes["dog"][0]
    with member.holder.opened() as read:
        assert read(member) == b""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has rows under a first line with the columns file and label"),
        ("file,label\n", "has rows under a first line with the columns file and label"),
        ("a,b,c\na.jpg,dog,x\n", "file and label; its first line is 'a,b,c': --set dataset.columns=FILE,LABEL"),
        ("x,y\nq.jpg,dog\n", "file and label; its first line is 'x,y': --set dataset.columns=FILE,LABEL"),
        ("file,label\na.jpg\n", "the row 'a.jpg' does not have a file, a label and 2 columns"),
        ("file,label\na.jpg,\n", "the row 'a.jpg,' does not have a file"),
        ("file,label\na.jpg,dog\nx.jpg,dog\ny.jpg,cat\n", "it names 2 files that are not there, the first is x.jpg"),
        ("file,label\na.jpg,dog\n\0.jpg,dog\n" + "x" * 300 + ",cat\n", "it names 2 files that are not there"),
        ("file,label\na.jpg,dog\na.jpg,cat\n", "the file a.jpg is listed twice"),
        ("file,label,split\na.jpg,dog,often\n", "'often' in column 'split' is not a split; known: train, val, test"),
        ("file,label,split\na.jpg,dog,train\nc.jpg,dog,test\nmore/b.jpg,cat,test\n", "class 'dog' is in train and in test"),
    ],
)
def test_a_bad_csv_file_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read_layout(write_csv(tmp_path, text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.jpg"], "no folder with images in it, but 1 images next to folders; expected class/image.jpg"),
        (["notes/readme.txt"], "no folder with images in it, but 1 .txt"),
        (
            ["train/dog/1.jpg", "test/dog/2.jpg", "test/cat/1.jpg"],
            "class 'dog' is in train and in test, but class",
        ),
        (["train/Dog/1.jpg", "test/dog/2.jpg"], "class 'Dog' (and 1 more) is in train and in test, but class splits share"),
        (
            ["train/dog/1.jpg", "vall/cat/2.jpg"],
            "in 'train', which is named after a split, and next to it in 'vall'",
        ),
        (["val/dog/1.jpg", "dev/cat/2.jpg"], "dev and val both mean the class split val"),
        (["train/1.jpg", "test/2.jpg"], "images lie directly in folders named after splits"),
    ],
)
def test_a_folder_of_no_known_form_is_one_line(tmp_path, files, message):
    with pytest.raises(UserError) as caught:
        read_layout(make(tmp_path / "photos", *files))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_root_that_is_nothing_known_is_one_line(tmp_path):
    (tmp_path / "notes.txt").touch()
    for name, message in (("nowhere", "no such file or folder"), ("notes.txt", "neither a folder, nor a zip or tar file")):
        with pytest.raises(UserError, match=message):
            read_layout(tmp_path / name)


def test_fractions_are_met_and_depend_on_names_alone():
    ids = [f"class {number}" for number in range(50)]
    splits = split_by_fraction(ids, 0.6, 0.2)
    assert [list(splits.values()).count(split) for split in ("train", "val", "test")] == [30, 10, 10]
    assert split_by_fraction(ids[::-1], 0.6, 0.2) == splits
    assert sorted(splits, key=ids.index)[:30] != [name for name in ids if splits[name] == "train"]
    more = split_by_fraction(ids, 0.8, 0.2)
    assert all(more[name] == "train" for name in ids if splits[name] == "train")
    assert set(split_by_fraction(ids, 0.0, 0.0).values()) == {"test"}
    assert set(split_by_fraction(ids, 1.0, 0.0).values()) == {"train"}
