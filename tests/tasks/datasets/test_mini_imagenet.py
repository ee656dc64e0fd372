import csv
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.class_lists import ListedClass
from fewbench.tasks.datasets import listed, mini_imagenet
from fewbench.tasks.datasets.mini_imagenet import MiniImageNet, published_positions

REAL = Path(os.environ.get("FEWBENCH_SHARED") or Path(__file__).parents[4] / "shared") / "data" / "mini-imagenet"
real_data = pytest.mark.skipif(not (REAL / "val.zip").is_file(), reason=f"no mini-ImageNet in {REAL}")
VAL_FINGERPRINT = "ef94dd677f876b992bf3107ba5b68599f0823bec7c45aefde68b8b0edf93f5a6"

# Two classes a split, of which images 2, 3 and 5 of seven are in the dataset.
CLASSES = {"train": ["n00000001", "n00000002"], "val": ["n00000003", "n00000004"], "test": ["n00000005", "n00000006"]}
POSITIONS = [2, 3, 5]
IDS = [class_id for ids in CLASSES.values() for class_id in ids]
Files = dict[str, bytes]


@pytest.fixture
def small(monkeypatch):
    lists = {split: [ListedClass(split, name, f"bird {name[-1]}") for name in ids] for split, ids in CLASSES.items()}
    monkeypatch.setattr(listed, "listed_classes", lambda dataset, split: lists[split])
    monkeypatch.setattr(mini_imagenet, "published_positions", lambda: dict.fromkeys(IDS, POSITIONS))
    monkeypatch.setattr(MiniImageNet, "per_class", 3)


def split_of(class_id: str) -> str:
    return next(split for split, ids in CLASSES.items() if class_id in ids)


def images_and_csv(png) -> Files:
    """As Ravi and Larochelle's: images/<class><position>.jpg, and which class each is of."""
    files = {f"images/{c}{position:08}.jpg": png(int(c[1:]), position, size=84) for c in IDS for position in POSITIONS}
    for split, ids in CLASSES.items():
        rows = [f"{c}{position:08}.jpg,{c}\n" for c in ids for position in POSITIONS]
        files[f"{split}.csv"] = ("filename,label\n" + "".join(rows)).encode()
    return files


def by_split(png) -> Files:
    """A folder a class, below a folder a split."""
    return {
        f"{split_of(Path(name).name[:9])}/{Path(name).name[:9]}/{Path(name).name}": content
        for name, content in images_and_csv(png).items()
        if name.startswith("images/")
    }


def ilsvrc(png) -> Files:
    """Seven images a class, whose numbers rise with their position, and validation images in folders of the same name."""
    numbers = [0, 7, 11, 23, 100, 101, 1000]
    files = {
        f"ILSVRC/train/{c}/{c}_{numbers[position - 1]}.JPEG": png(int(c[1:]), position, size=84)
        for c in [*IDS, "n00000009"]
        for position in range(1, 8)
    }
    validation = {f"ILSVRC/val/{c}/ILSVRC2012_val_{number:08}.JPEG": png(99) for c in IDS for number in range(4)}
    return {**files, **validation}


def other_names(png) -> Files:
    """A folder a class with exactly the images of the dataset, named otherwise."""
    return {f"{c}/{place}.png": png(int(c[1:]), position, size=84) for c in IDS for place, position in enumerate(POSITIONS)}


def selected_ilsvrc(png) -> Files:
    """A folder a class with exactly the images of the dataset, under ILSVRC's names."""
    return {f"{c}/{c}_{position * 9}.JPEG": png(int(c[1:]), position, size=84) for c in IDS for position in POSITIONS}


def as_folder(place: Path, files: Files) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def as_zip(place: Path, files: Files) -> Path:
    place.mkdir()
    with zipfile.ZipFile(place / "mini.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return place / "mini.zip"


def as_tgz(place: Path, files: Files) -> Path:
    shutil.make_archive(str(place), "gztar", as_folder(place.parent / "unpacked", files))
    return place.with_name(f"{place.name}.tar.gz")


def as_tar_a_split(place: Path, files: Files) -> Path:
    as_folder(place.parent / "unpacked", files)
    place.mkdir()
    for split in CLASSES:
        with tarfile.open(place / f"{split}.tar", "w") as archive:
            archive.add(place.parent / "unpacked" / split, split)
    return place


def as_tar_a_class(place: Path, files: Files) -> Path:
    """n00000001.tar and so on, as ImageNet's training set unpacks."""
    place.mkdir()
    as_folder(place.parent / "unpacked", files)
    for folder in sorted((place.parent / "unpacked" / "ILSVRC" / "train").iterdir()):
        with tarfile.open(place / f"{folder.name}.tar", "w") as archive:
            for file in folder.iterdir():
                archive.add(file, file.name)
    return place


def as_tar_of_tars(place: Path, files: Files) -> Path:
    """ILSVRC2012_img_train.tar."""
    folder = as_tar_a_class(place, files)
    with tarfile.open(folder.parent / "ILSVRC2012_img_train.tar", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    return folder.parent / "ILSVRC2012_img_train.tar"


def caches(place: Path, pixels, dump) -> Path:
    """mini-imagenet-cache-*.pkl; its rows are not sorted by class."""
    place.mkdir()
    for split, ids in CLASSES.items():
        order = [(c, position) for position in POSITIONS for c in ids]
        content = {
            "image_data": np.stack([pixels(int(c[1:]), position, size=84) for c, position in order]),
            "class_dict": {c: [row for row, (other, _) in enumerate(order) if other == c] for c in ids},
        }
        (place / f"mini-imagenet-cache-{split}.pkl").write_bytes(dump(content))
    return place


def fingerprints(source: Path) -> list[str]:
    return [split.fingerprint for split in MiniImageNet().prepare(source, again=True).values()]


@pytest.mark.parametrize(
    ("files", "packing"),
    [
        (images_and_csv, as_folder),
        (images_and_csv, as_zip),
        (images_and_csv, as_tgz),
        (by_split, as_folder),
        (by_split, as_zip),
        (by_split, as_tar_a_split),
        (ilsvrc, as_folder),
        (ilsvrc, as_tar_a_class),
        (ilsvrc, as_tar_of_tars),
        (other_names, as_folder),
        (selected_ilsvrc, as_folder),
    ],
)
def test_every_form_gives_the_same_dataset(small, tmp_path, png, pixels, files, packing):
    source = packing(tmp_path / "copy", files(png))
    prepared = MiniImageNet().prepare(source)
    for split, ids in CLASSES.items():
        expected = [pixels(int(c[1:]), position, size=84) for c in ids for position in POSITIONS]
        np.testing.assert_array_equal(prepared[split].images, expected)
        assert prepared[split].class_ids == tuple(ids) and prepared[split].offsets.tolist() == [0, 3, 6]


@pytest.mark.parametrize("python", [2, 3])
def test_pickled_caches_give_the_same_dataset(small, tmp_path, png, pixels, python, python_2_pickle):
    expected = fingerprints(as_folder(tmp_path / "copy", by_split(png)))
    folder = caches(tmp_path / "caches", pixels, python_2_pickle if python == 2 else pickle.dumps)
    assert fingerprints(folder) == expected
    assert fingerprints(folder / "mini-imagenet-cache-val.pkl") == expected
    with tarfile.open(tmp_path / "mini-imagenet.tar", "w") as archive:
        archive.add(folder, "mini-imagenet")
    assert fingerprints(tmp_path / "mini-imagenet.tar") == expected


def test_ravi_and_larochelles_csv_files_beside_ilsvrc_are_left_aside(small, tmp_path, png):
    files = {name: content for name, content in images_and_csv(png).items() if name.endswith(".csv")}
    folder = as_folder(tmp_path / "copy", {**files, **ilsvrc(png)})
    assert fingerprints(folder) == fingerprints(as_folder(tmp_path / "other", by_split(png)))


def test_the_rows_of_csv_files_decide(small, tmp_path, png, pixels):
    files = images_and_csv(png)
    extra = {f"images/{c}{position:08}.jpg": png(int(c[1:]), position, size=84) for c in IDS for position in (1, 6)}
    files["val.csv"] = b"filename,label\n" + b"".join(
        f"{c}{position:08}.jpg,{c}\n".encode() for c in CLASSES["val"] for position in (6, 1, 3)
    )
    split = MiniImageNet().prepare(as_folder(tmp_path / "copy", {**files, **extra}), ["val"])["val"]
    expected = [pixels(goose, position, size=84) for goose in (3, 4) for position in (6, 1, 3)]
    np.testing.assert_array_equal(split.images, expected)


def test_size_is_a_parameter_and_has_a_folder_of_its_own(small, tmp_path, png):
    split = MiniImageNet(size=20).prepare(as_folder(tmp_path / "copy", by_split(png)), ["val"])["val"]
    assert split.images.shape == (6, 20, 20, 3)
    assert MiniImageNet(size=20).folder().name == "mini-imagenet-1-size=20"
    with pytest.raises(UsageError, match="size=0"):
        MiniImageNet(size=0)


def without(name: str):
    return lambda files: {key: content for key, content in files.items() if name not in key}


def with_csv(split: str, text: str):
    return lambda files: {**files, f"{split}.csv": text.encode()}


GOOSE = "n00000003 (bird 3)"
NO_COLUMNS = "val.csv: not a CSV file whose first line names the columns filename and label"


@pytest.mark.parametrize(
    ("files", "spoil", "message"),
    [
        (images_and_csv, without("n0000000300000003"), "name 1 images that are not here, first n0000000300000003.jpg"),
        (by_split, without("n0000000300000003"), f"class {GOOSE} has 2 images here, 3 as published"),
        (by_split, without("/n00000003/"), f"1 of the 2 val classes of mini-imagenet have no image here, the first is {GOOSE}"),
        (ilsvrc, without("n00000003_10"), f"class {GOOSE} has 4 images here, 3 as published"),
        (ilsvrc, without("train/n00000003"), f"class {GOOSE} has 4 images here, 3 as published"),  # those for validation
        (images_and_csv, with_csv("val", "filename,label\nx.jpg,n00000001\n"), "class n00000001 is also in train.csv"),
        (images_and_csv, with_csv("val", "file,class\nx.jpg,y\n"), NO_COLUMNS),
        (images_and_csv, with_csv("val", "filename,label\nx.jpg\n"), NO_COLUMNS),
        (images_and_csv, with_csv("val", ""), NO_COLUMNS),
        (images_and_csv, with_csv("val", "filename,label\nx.jpg,goose\n"), "name a class 'goose', which is no WordNet id"),
    ],
)
def test_a_copy_that_lacks_something_is_one_line_and_nothing_is_written(small, tmp_path, png, files, spoil, message):
    source = as_folder(tmp_path / "copy", spoil(files(png)))
    with pytest.raises(UserError) as caught:
        MiniImageNet().prepare(source)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not MiniImageNet().folder().exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: {"image_data": content["image_data"]}, "not a cache of mini-ImageNet"),
        (lambda content: [1, 2], "not a cache of mini-ImageNet"),
        (lambda content: {**content, "image_data": content["image_data"][..., 0]}, "not a cache of mini-ImageNet"),
        (lambda content: {**content, "class_dict": {name: [0, 1, 99] for name in IDS}}, "not a cache of mini-ImageNet"),
        (lambda content: {**content, "class_dict": Path("x")}, "this pickle holds a call of pathlib"),
    ],
)
def test_a_bad_cache_is_one_line(small, tmp_path, pixels, change, message):
    folder = caches(tmp_path / "caches", pixels, lambda content: pickle.dumps(change(content)))
    with pytest.raises(UserError, match=r"mini-imagenet-cache-\w+\.pkl: ") as caught:
        MiniImageNet().prepare(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_class_split_is_the_published_one():
    sizes = {split: len(MiniImageNet().class_list(split)) for split in CLASSES}
    assert sizes == {"train": 64, "val": 16, "test": 20}
    assert MiniImageNet().class_list("val")[0] == ("n01855672", "goose")


def test_published_positions_are_600_of_at_most_1300():
    positions = published_positions()
    assert {len(places) for places in positions.values()} == {600} and len(positions) == 100
    assert all(1 <= places[0] and places[-1] <= 1300 and places == sorted(places) for places in positions.values())


@real_data
def test_published_positions_are_those_of_the_csv_files():
    for split in CLASSES:
        with (REAL / f"{split}.csv").open() as file:
            names = [row["filename"] for row in csv.DictReader(file)]
        positions = published_positions()
        ids = [class_id for class_id, _ in MiniImageNet().class_list(split)]
        assert names == [f"{class_id}{position:08}.jpg" for class_id in ids for position in positions[class_id]]


@real_data
def test_real_photographs_are_those_known(tmp_path):
    for name in ("val.zip", "val.csv"):  # the others would be looked through for the classes of val, which takes a while
        (tmp_path / name).symlink_to(REAL / name)
    split = MiniImageNet().prepare(tmp_path, ["val"])["val"]
    assert split.images.shape == (9600, 84, 84, 3)
    assert split.fingerprint == VAL_FINGERPRINT
