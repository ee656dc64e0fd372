import io
import mmap
import os
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.reading import arrays
from fewbench.tasks.datasets.reading.archives import ZipFiles
from fewbench.tasks.datasets.reading.arrays import NpzImages, PickledImages, open_pickle
from fewbench.tasks.datasets.reading.holders import FolderFiles, Member


def file_with(path, content: bytes) -> Member:
    path.write_bytes(content)
    return Member(FolderFiles(path.parent), path.name)


def test_a_pickle_in_a_folder_is_mapped_not_read(tmp_path):
    file = file_with(tmp_path / "cache.pkl", pickle.dumps({"image_data": np.arange(100, dtype=np.uint8)}))
    content, mapping = open_pickle(file)
    assert isinstance(mapping, mmap.mmap)
    base: Any = content["image_data"]
    while isinstance(base, np.ndarray):
        base = base.base
    assert base.obj is mapping


def test_a_pickle_in_a_zip_file_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cache.pkl", pickle.dumps([1]))
    member = ZipFiles(tmp_path / "a.zip").members(lambda name: True)[0]
    assert open_pickle(member) == ([1], None)


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(os.getcwd)])
def test_a_bad_pickle_is_one_line_with_the_file(tmp_path, content):
    with pytest.raises(UserError, match=r"cache\.pkl: ") as caught:
        open_pickle(file_with(tmp_path / "cache.pkl", content))
    assert "\n" not in str(caught.value)


def test_pickled_pixels_and_files_are_copied_out(tmp_path, pixels, png, monkeypatch):
    monkeypatch.setattr(arrays, "DROP_AFTER", 300)  # pages are given back within these few images
    stack = np.stack([pixels(number) for number in range(9)])
    encoded = [np.frombuffer(png(number), np.uint8)[:, None] for number in range(9)]  # as OpenCV gives them
    cache, mapping = open_pickle(file_with(tmp_path / "cache.pkl", pickle.dumps([stack, encoded])))
    file = file_with(tmp_path / "cache.pkl", (tmp_path / "cache.pkl").read_bytes())
    for images, expected in ((cache[0], stack), (cache[1], [png(number) for number in range(9)])):
        holder = PickledImages(file, images, mapping)
        with holder.opened() as read:
            for member, content in zip(holder.members(lambda name: True), expected, strict=True):
                np.testing.assert_array_equal(read(member), content)
    assert str(holder.member(4)).endswith("cache.pkl, image 4")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_images_are_read_one_by_one_and_turned_to_rgb(tmp_path, pixels, save):
    stack = np.stack([pixels(number) for number in range(5)])
    save(tmp_path / "train_images.npz", images=stack[..., ::-1])
    holder = NpzImages(Member(FolderFiles(tmp_path), "train_images.npz"))
    assert holder.in_order and len(holder.members(lambda name: True)) == 5
    with holder.opened() as read:
        for number in (1, 2, 4, 0):
            np.testing.assert_array_equal(read(holder.member(number)), stack[number])


@pytest.mark.parametrize(
    ("arrays_in_it", "message"),
    [
        ({"pictures": np.zeros((1, 4, 4, 3), np.uint8)}, "no array 'images'"),
        ({"images": np.zeros((1, 4, 4, 3))}, r"images are float64 \[1, 4, 4, 3\], not uint8"),
        ({"images": np.zeros((4, 4, 3), np.uint8)}, "not uint8"),
    ],
)
def test_another_npz_file_is_one_line(tmp_path, arrays_in_it, message):
    np.savez(tmp_path / "train_images.npz", **arrays_in_it)
    with pytest.raises(UserError, match=message):
        NpzImages(Member(FolderFiles(tmp_path), "train_images.npz"))


def test_a_damaged_npz_file_is_one_line(tmp_path):
    file = io.BytesIO()
    np.savez(file, images=np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(UserError, match=r"cannot read .*train_images\.npz"):
        NpzImages(file_with(tmp_path / "train_images.npz", file.getvalue()[:-30]))
