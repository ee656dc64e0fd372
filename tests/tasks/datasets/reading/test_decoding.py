import threading
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.reading import decoding
from fewbench.tasks.datasets.reading.archives import ZipFiles
from fewbench.tasks.datasets.reading.decoding import decoded
from fewbench.tasks.datasets.reading.holders import FolderFiles, Holder, Member
from fewbench.tasks.datasets.reading.image_files import Square


def everything(name: str) -> bool:
    return True


@pytest.fixture
def folder(tmp_path, png) -> FolderFiles:
    for number in range(100):
        (tmp_path / f"{number:03}.png").write_bytes(png(number))
    return FolderFiles(tmp_path)


def collect(members, size: int = 8, done: int = 0) -> tuple[np.ndarray, np.ndarray]:
    images = np.zeros((len(members), size, size, 3), np.uint8)
    order = []
    for rows, piece in decoded(members, Square(size), done):
        images[rows] = piece
        order += rows.tolist()
    return images, np.array(order)


def test_every_row_gets_its_image(folder, pixels):
    members = folder.members(everything)
    images, order = collect(members)
    np.testing.assert_array_equal(images, [pixels(number) for number in range(100)])
    assert order.tolist() == list(range(100))


def test_going_on_gives_the_rest_in_the_same_order(tmp_path, png):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in np.random.default_rng(0).permutation(100):
            archive.writestr(f"{number:03}.png", png(int(number)))
    members = sorted(ZipFiles(tmp_path / "a.zip").members(everything), key=lambda member: member.name)
    whole, order = collect(members)
    rest, tail = collect(members, done=70)
    assert tail.tolist() == order[70:].tolist() != sorted(tail)
    np.testing.assert_array_equal(rest[tail], whole[tail])


class Tape(Holder):
    """Can be read forwards only, and by one thread."""

    def __init__(self, path, contents):
        super().__init__(path)
        self.contents, self.at, self.thread = contents, -1, threading.get_ident()

    @property
    def in_order(self):
        return True

    def members(self, keep):
        return [Member(self, str(place), place) for place in range(len(self.contents))]

    @contextmanager
    def opened(self):
        def read(member):
            assert member.place > self.at and threading.get_ident() == self.thread
            self.at = member.place
            return self.contents[member.place]

        yield read


def test_what_must_be_read_in_order_is(tmp_path, png, pixels):
    tape = Tape(tmp_path, [png(number) for number in range(100)])
    images, _ = collect(tape.members(everything)[::-1])
    np.testing.assert_array_equal(images, [pixels(number) for number in range(99, -1, -1)])


def test_unreadable_images_are_named_and_counted_after_the_others_were_read(folder, pixels):
    for number in (5, 50, 51, 99):
        (folder.path / f"{number:03}.png").write_bytes((folder.path / f"{number:03}.png").read_bytes()[:100])
    members = folder.members(everything)
    (folder.path / "050.png").unlink()
    rows_read = 0
    with pytest.raises(UserError) as caught:
        for rows, images in decoded(members, Square(8)):
            rows_read += len(rows)
            if 7 in rows:
                np.testing.assert_array_equal(images[rows == 7], [pixels(7)])
    assert rows_read == 100
    assert str(caught.value) == (
        f"cannot read {folder.path}/005.png (truncated), {folder.path}/050.png (No such file or directory), "
        f"{folder.path}/051.png (truncated) and 1 more"
    )


def test_after_many_unreadable_images_the_rest_is_not_tried(folder, monkeypatch):
    monkeypatch.setattr(decoding, "TOO_MANY", 10)
    for file in folder.path.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(UserError, match="and 29 more"):
        list(decoded(folder.members(everything), Square(8)))


def test_a_member_that_the_archive_cannot_give_is_named(tmp_path, png):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", png(1))
        archive.writestr("b.png", png(2))
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content[:100] + b"damage" + content[106:])
    with pytest.raises(UserError, match=r"cannot read .*a\.zip: a\.png \(the archive is damaged") as caught:
        list(decoded(ZipFiles(tmp_path / "a.zip").members(everything), Square(8)))
    assert "b.png" not in str(caught.value)


def test_few_images_are_in_memory_at_a_time(tmp_path, png):
    reading: list[int] = []

    class Counting(FolderFiles):
        @contextmanager
        def opened(self):
            def read(member):
                reading.append(1)
                return png(1)

            yield read

    members = [Member(Counting(tmp_path), f"{number}.png") for number in range(2000)]
    pieces = decoded(members, Square(8))
    next(pieces)
    threads = decoding.thread_count()
    assert len(reading) <= decoding.CHUNK * (2 * threads + 2)
    pieces.close()
    assert len(reading) < 2000
