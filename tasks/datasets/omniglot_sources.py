"""Reading Omniglot: the two zip files of its repository, their PNG tree, or two npz files.

The data have two parts, background (964 characters) and evaluation (659). Each part may be in any of these forms:

    images_<part>.npz       bool `images` [characters, 20, 105, 105], True = paper, in the row order of lists/omniglot.csv
    images_<part>.zip       with members images_<part>/<alphabet>/<character>/<number>_<drawer>.png
    images_<part>/          the same files, unpacked
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ...core.errors import UserError
from ...core.files import cache_root, make_folder
from ...core.progress import Progress
from ...core.quiet import quiet

DRAWERS = 20
SIDE = 105  # pixels

URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
MD5 = {"background": "68d2efa1b9178cc56df9314c21c6e718", "evaluation": "6b91aef0f799c5bb55b94e3f2daec811"}
TIMEOUT = (5, 30)  # seconds to connect, and between two pieces

# Matches whole names, so that a member such as /etc/…, ../images_… or __MACOSX/… does not count as a drawing.
PNG_NAME = re.compile(r"images_(?:background|evaluation)/([^/]+/character\d+)/\d+_(\d+)\.png")


@dataclass(frozen=True)
class Character:
    """One character of one alphabet.

    Attributes:
        alphabet: original folder name, such as `Japanese_(katakana)`.
        name: `character01` and so on.
        part: background or evaluation.
        row: row in the npz file of the part.
    """

    alphabet: str
    name: str
    part: str
    row: int

    @property
    def identifier(self) -> str:
        """`alphabet/character`."""
        return f"{self.alphabet}/{self.name}"


class Part(Protocol):
    """One part of Omniglot, in one of its forms."""

    def missing(self, characters: Sequence[Character]) -> list[Character]:
        """Those of the part's `characters` whose drawings are not all present."""
        ...

    def drawings(self, characters: Sequence[Character]) -> Iterator[np.ndarray]:
        """Yield the drawings of each character: bool [20, 105, 105], True = ink, sorted by drawer."""
        ...


@dataclass(frozen=True)
class NpzPart:
    """A part as an npz file."""

    path: Path

    def missing(self, characters: Sequence[Character]) -> list[Character]:
        """Those whose row is beyond the end of the array. Reads only the array's header."""
        with _readable(self.path), zipfile.ZipFile(self.path) as archive, archive.open("images.npy") as member:
            np.lib.format.read_magic(member)
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        if shape[1:] != (DRAWERS, SIDE, SIDE) or dtype != np.dtype(bool):
            raise UserError(f"{self.path}: images are {dtype} {list(shape)}, not bool [characters, {DRAWERS}, {SIDE}, {SIDE}]")
        return [character for character in characters if character.row >= shape[0]]

    def drawings(self, characters: Sequence[Character]) -> Iterator[np.ndarray]:
        """Yield the drawings of each character. The larger part takes 212 MB of memory meanwhile."""
        with _readable(self.path), np.load(self.path, allow_pickle=False) as archive:
            images = archive["images"]
        for character in characters:
            yield ~images[character.row]


@dataclass(frozen=True)
class PngPart:
    """A part as PNG files, in a folder or in a zip file. A zip file is read member by member and never extracted."""

    path: Path

    def missing(self, characters: Sequence[Character]) -> list[Character]:
        """Those without a PNG file for every drawer."""
        with self._files() as (names, _):
            found = _by_character(names)
        everyone = set(range(1, DRAWERS + 1))
        return [character for character in characters if not everyone <= found.get(character.identifier, {}).keys()]

    def drawings(self, characters: Sequence[Character]) -> Iterator[np.ndarray]:
        """Yield the drawings of each character, sorted by the drawer's number in the file name."""
        with self._files() as (names, read):
            found = _by_character(names)
            for character in characters:
                files = found[character.identifier]
                yield np.stack([self._ink(files[drawer], read) for drawer in range(1, DRAWERS + 1)])

    @contextmanager
    def _files(self) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
        """Yield the names of all files, each beginning with `images_<part>/`, and a function that reads one."""
        if self.path.is_dir():
            above = self.path.parent
            names = [file.relative_to(above).as_posix() for file in self.path.glob("*/*/*.png")]
            yield names, lambda name: (above / name).read_bytes()
            return
        with _readable(self.path):
            archive = zipfile.ZipFile(self.path)
        with archive:
            yield archive.namelist(), archive.read

    def _ink(self, name: str, read: Callable[[str], bytes]) -> np.ndarray:
        """One drawing, bool [105, 105]."""
        with _readable(self.path, name), Image.open(io.BytesIO(read(name)), formats=("PNG",)) as image:
            if image.size != (SIDE, SIDE):
                raise UserError(f"{self.path}: {name} is not of {SIDE}×{SIDE} pixels")
            return np.asarray(image.convert("L")) < 128


def _by_character(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """The names of drawings, by `alphabet/character` and drawer; other files are left out."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        if match := PNG_NAME.fullmatch(name):
            found.setdefault(match[1], {})[int(match[2])] = name
    return found


@contextmanager
def _readable(path: Path, member: str = "") -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # for damaged bytes zipfile, numpy and PIL raise many kinds of errors
        raise UserError(f"{path}: cannot read {member or 'it'}; the file is damaged or of another format") from error


def find_parts(source: Path) -> dict[str, Part]:
    """Look for the parts in a folder, or in the folder of a file, and one level below.

    Args:
        source: an existing folder or file.

    Raises:
        UserError: there is no part in any known form.
    """
    folder = source if source.is_dir() else source.parent
    parts = {part: found for part in MD5 if (found := _find_part(part, folder)) is not None}
    if not parts:
        raise UserError(
            f"--from {source}: no Omniglot here; expected images_background and images_evaluation, both as .zip files, "
            "as .npz files, or as folders of PNG files"
        )
    return parts


def _find_part(part: str, folder: Path) -> Part | None:
    for level in ("", "*/"):
        for ending, form in ((".npz", NpzPart), (".zip", PngPart), ("", PngPart)):
            # glob skips folders that the user may not enter.
            if found := sorted(folder.glob(f"{level}images_{part}{ending}")):
                return form(found[0])
    return None


def check_complete(parts: dict[str, Part], characters: Sequence[Character], source: Path) -> None:
    """Check that every character has its 20 drawings.

    Raises:
        UserError: drawings are missing, and the message names the first character and the number of characters; or a file
            cannot be read.
    """
    missing = []
    for part in MD5:
        wanted = [character for character in characters if character.part == part]
        missing += parts[part].missing(wanted) if part in parts else wanted
    if missing:
        first = f"images_{missing[0].part}/{missing[0].identifier}"
        raise UserError(f"--from {source}: {len(missing)} of {len(characters)} characters lack drawings, the first is {first}")


def drawings(parts: dict[str, Part], characters: Sequence[Character]) -> Iterator[tuple[Character, np.ndarray]]:
    """Yield each character with its drawings, bool [20, 105, 105], True = ink. Only one part is in memory at a time.

    Raises:
        UserError: a file cannot be read.
    """
    for part in MD5:
        wanted = [character for character in characters if character.part == part]
        if wanted:
            yield from zip(wanted, parts[part].drawings(wanted), strict=True)


def download(progress: Progress) -> Path:
    """Download the two zip files of the original repository unless they are present, and check their hashes.

    Returns:
        The folder with the files.

    Raises:
        UserError: there is no network, or a file has the wrong hash. There is no second try.
    """
    import pooch  # takes a while to import

    folder = make_folder(cache_root() / "downloads" / "omniglot")
    with progress.track("downloading omniglot (16 MB)", len(MD5)) as advance, quiet(pooch.get_logger()):
        for part, md5 in MD5.items():
            name = f"images_{part}.zip"
            fetch: Any = pooch.HTTPDownloader(timeout=TIMEOUT)  # Any: its signature differs from the one that pooch declares
            try:
                pooch.retrieve(f"{URL}/{name}", f"md5:{md5}", name, folder, downloader=fetch)
            except (OSError, ValueError) as error:
                reason = (error.strerror or type(error).__name__) if isinstance(error, OSError) else "wrong hash"
                raise UserError(
                    f"omniglot is not prepared and could not be downloaded ({name}: {reason}); `bench data prepare omniglot "
                    "--from PATH` takes a copy (the two zip files, the PNG tree, or the npz files)"
                ) from error
            advance(1)
    return folder
