import zipfile
from pathlib import Path

import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.reading.folder_layout import Layout, read_layout, split_by_fraction


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
    assert layout.splits is None and not layout.empty


def test_folders_in_folders_are_identifiers_with_all_parts(tmp_path):
    layout = read_layout(make(tmp_path, "animals/dogs/husky/1.jpg", "animals/dogs/2.jpg", "cars/3.jpg"))
    assert list(layout.classes) == ["animals/dogs", "animals/dogs/husky", "cars"]


def test_train_val_and_test_at_the_top_are_class_splits(tmp_path):
    layout = read_layout(make(tmp_path, "train/dogs/husky/1.jpg", "test/cat/2.jpg", "train/ant/3.jpg"))
    assert names(layout) == {"ant": ["train/ant/3.jpg"], "cat": ["test/cat/2.jpg"], "dogs/husky": ["train/dogs/husky/1.jpg"]}
    assert layout.splits == {"ant": "train", "cat": "test", "dogs/husky": "train"}


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
    assert read_layout(root).empty == ["cat", "notes"]


def write_csv(tmp_path: Path, text: str) -> Path:
    make(tmp_path, "a.jpg", "more/b.jpg", "c.jpg")
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    return tmp_path / "list.csv"


@pytest.mark.parametrize("header", ["file,label", "\ufeffFilename, Label", "path,class", "image,label"])
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
        ("name,label\na.jpg,dog\n", "has rows under a first line with the columns file and label"),
        ("file,label\na.jpg\n", "the row 'a.jpg' does not have a file, a label and 2 columns"),
        ("file,label\na.jpg,\n", "the row 'a.jpg,' does not have a file"),
        ("file,label\na.jpg,dog\nx.jpg,dog\ny.jpg,cat\n", "it names 2 files that are not there, the first is x.jpg"),
        ("file,label\na.jpg,dog\na.jpg,cat\n", "the file a.jpg is listed twice"),
        ("file,label,split\na.jpg,dog,training\n", "'training' is no class split; known: train, val, test"),
        ("file,label,split\na.jpg,dog,train\nc.jpg,dog,test\n", "class 'dog' is in train and in test"),
    ],
)
def test_a_bad_csv_file_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read_layout(write_csv(tmp_path, text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.jpg"], "no folder with images in it; expected class/image.jpg"),
        (["notes/readme.txt"], "no folder with images in it"),
        (["train/dog/1.jpg", "test/dog/2.jpg"], "class 'dog' is in test and in train; in few-shot learning"),
        (["train/dog/1.jpg", "validation/cat/2.jpg"], "there are images in 'validation'"),
        (["train/dog/1.jpg", "train/2.jpg"], "there are images in 'train'"),
        (["train/1.jpg", "test/2.jpg"], "there are images in 'test'"),
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
