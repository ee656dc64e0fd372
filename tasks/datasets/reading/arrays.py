"""Holders of images in arrays: pixels in a pickle or an npz file, or encoded files in a pickle."""

from __future__ import annotations

import mmap
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ....core.errors import UserError
from .archives import DAMAGE
from .holders import Holder, Keep, Member, Read
from .restricted_pickle import load_pickle

DROP_AFTER = 64 * 2**20  # bytes to read from a mapped file before its pages are released


def open_pickle(member: Member) -> tuple[Any, mmap.mmap | None]:
    """Read a pickled file.

    Returns:
        The content, and the memory mapping that its arrays are views of, if there is one.

    Raises:
        UserError: the file cannot be read, is damaged, or holds anything but arrays, lists, dictionaries, strings and numbers.
    """
    content, start, stop = member.holder.buffer(member)
    return load_pickle(content, str(member), start, stop), content if isinstance(content, mmap.mmap) else None


class PickledImages(Holder):
    """The images of a pickled cache: uint8 [n, H, W, 3], or a sequence of encoded files as uint8 arrays."""

    def __init__(self, file: Member, images: Sequence[np.ndarray] | np.ndarray, mapping: mmap.mmap | None) -> None:
        """Hold the images of `file`. Where they are views of a mapping, pages that were read are released now and then."""
        super().__init__(file.holder.path)
        self.file, self.images, self.mapping = file, images, mapping

    def label(self, member: Member) -> str:
        """The file and the image's number in it."""
        return f"{self.file}, image {member.place}"

    def members(self, keep: Keep) -> list[Member]:
        """Every image."""
        return [self.member(number) for number in range(len(self.images))]

    def member(self, number: int) -> Member:
        """One image."""
        return Member(self, f"{self.file.stem}[{number}]", number)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that copies an image, or the bytes of its file, from the cache."""
        unreturned = 0

        def read(member: Member) -> bytes | np.ndarray:
            nonlocal unreturned
            image = self.images[member.place]
            content = image.copy() if image.ndim == 3 and image.shape[2] == 3 else image.tobytes()
            unreturned += image.nbytes
            if self.mapping is not None and unreturned > DROP_AFTER and hasattr(mmap, "MADV_DONTNEED"):
                unreturned = 0
                self.mapping.madvise(mmap.MADV_DONTNEED)  # pages in use count as this process's memory
            return content

        yield read


class NpzImages(Holder):
    """The array `images`, uint8 [n, H, W, 3], of an npz file. Its colours are in OpenCV's order, BGR."""

    def __init__(self, file: Member) -> None:
        """Read the array's header.

        Raises:
            UserError: the file cannot be read, or has no such array.
        """
        super().__init__(file.holder.path / file.name)
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open("images.npy") as stream:
                version = np.lib.format.read_magic(stream)
                header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                self.shape, fortran, dtype = header(stream)
                self.start = stream.tell()
        except (*DAMAGE, KeyError) as error:
            raise UserError(f"cannot read {self.path}: it is damaged, or has no array 'images'") from error
        if dtype != np.uint8 or fortran or len(self.shape) != 4 or self.shape[3] != 3:
            raise UserError(f"{self.path}: images are {dtype} {list(self.shape)}, not uint8 [n, H, W, 3]")

    @property
    def in_order(self) -> bool:
        """True, since the array may be compressed."""
        return True

    def label(self, member: Member) -> str:
        """The file and the image's number in it."""
        return f"{self.path}, image {member.place}"

    def members(self, keep: Keep) -> list[Member]:
        """Every image."""
        return [self.member(number) for number in range(self.shape[0])]

    def member(self, number: int) -> Member:
        """One image."""
        return Member(self, f"{self.path.stem}[{number}]", number)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that reads an image and returns it as RGB."""
        size = int(np.prod(self.shape[1:], dtype=np.int64))
        with zipfile.ZipFile(self.path) as archive, archive.open("images.npy") as stream:

            def read(member: Member) -> np.ndarray:
                stream.seek(self.start + member.place * size)
                return np.frombuffer(stream.read(size), np.uint8).reshape(self.shape[1:])[..., ::-1].copy()

            yield read
