"""The images of one episode: a row a class, support on the left, queries on the right, answers as frames of the queries.

Drawn with Pillow, pixel by pixel, so that small images can be enlarged without smoothing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ....tasks.datasets.split import Split
from ....tasks.episodes import EpisodeBatch
from ...records.labels import label_of
from ...records.record import RunRecord
from ...records.task_words import task_title

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from ...evaluation.evaluate import Answers
    from ...evaluation.replay import Replay

# Pixels.
TILE = 84  # an image is enlarged by a whole factor to at least so much
FRAME, GAP, MARGIN, BETWEEN = 4, 14, 16, 40  # BETWEEN support and queries
NAME_WIDTH, FONT_SIZE, LINE = 150, 12, 15
CAPTION_FONT_SIZE, CAPTION_LINE, CAPTION_LINES = 10, 12, 4
SUPPORT_COLUMNS, QUERY_COLUMNS = 10, 15  # further images of a class go on below
INK, PAPER = "#222222", "#ffffff"
RIGHT, WRONG, TIED = "#009e3d", "#d62728", "#e69f00"


class Tile(NamedTuple):
    """One image: uint8 [H, W, C], the colour of its frame and what stands below it."""

    image: np.ndarray
    frame: str | None = None
    caption: str = ""


@dataclass(frozen=True)
class ClassRow:
    """The images of one class."""

    name: str
    support: list[Tile]
    query: list[Tile]


def draw_episode(split: Split, episode: EpisodeBatch, title: Sequence[str], answers: Answers | None = None) -> bytes:
    """Draw one episode.

    Args:
        split: where its images are.
        episode: a batch of one, without padding.
        title: lines above the images.
        answers: frames the queries: right, wrong (with the predicted class below), or tied between several classes.

    Returns:
        A PNG file's content.
    """
    rows = _class_rows(split, episode, answers)
    picture = _Picture(rows, title)
    buffer = io.BytesIO()
    picture.draw().save(buffer, "PNG")
    return buffer.getvalue()


def title_of(replayed: Replay, record: RunRecord | None = None) -> list[str]:
    """The title of an episode: its task and number, and a record's method with the accuracy of its answers."""
    task, index = replayed.task, int(replayed.episode.index[0])
    coarsity = task.sampler.coarsity(index + 1)
    number = f"episode {index}" + ("" if coarsity is None else f", coarsity {coarsity[index]:.2f}")
    lines = [f"{task.key.dataset}, {number}", task_title(task.key)]
    if record is not None and replayed.answers is not None:
        now, then = (f"{100 * accuracy:.2f} %" for accuracy in (replayed.answers.credit.mean(), record.accuracies[index]))
        lines.append(f"{label_of(record)}: accuracy {now}" + ("" if now == then else f" (the record says {then})"))
    return lines


def _class_rows(split: Split, episode: EpisodeBatch, answers: Answers | None) -> list[ClassRow]:
    names = [split.class_names[number] for number in episode.classes[0]]
    rows = []
    for label, name in enumerate(names):
        support = [Tile(split.images[row]) for row in episode.support[0, episode.support_labels[0] == label]]
        query = []
        for place in np.flatnonzero(episode.query_labels[0] == label):
            image = split.images[episode.query[0, place]]
            if answers is None:
                query.append(Tile(image))
            else:
                predicted, credit = names[answers.predicted[0, place]], float(answers.credit[0, place])
                query.append(Tile(image, *_frame(predicted, credit)))
        rows.append(ClassRow(name, support, query))
    return rows


def _frame(predicted: str, credit: float) -> tuple[str, str]:
    """Colour of a query's frame, and its caption."""
    if credit == 1:
        return RIGHT, ""
    return (TIED, f"tie of {round(1 / credit)}") if credit else (WRONG, predicted)


class _Picture:
    """The layout: everything is measured first, then drawn."""

    def __init__(self, rows: Sequence[ClassRow], title: Sequence[str]) -> None:
        self.rows, self.title = rows, title
        self.font, self.caption_font = _font(FONT_SIZE), _font(CAPTION_FONT_SIZE)
        height, width = rows[0].support[0].image.shape[:2]
        factor = -(-TILE // max(height, width))
        self.tile_width, self.tile_height = width * factor, height * factor
        self.support_columns = min(SUPPORT_COLUMNS, max(len(row.support) for row in rows))
        self.query_columns = min(QUERY_COLUMNS, max(len(row.query) for row in rows))
        self.cell_width = self.tile_width + GAP
        captions = [self._caption(tile) for row in rows for tile in row.query]
        self.cell_height = self.tile_height + GAP + CAPTION_LINE * max(len(lines) for lines in captions)
        self.support_left = MARGIN + NAME_WIDTH + GAP
        self.query_left = self.support_left + self.support_columns * self.cell_width + BETWEEN
        self.top = MARGIN + (len(title) + 1) * LINE + GAP

    def draw(self) -> Image.Image:
        from PIL import Image, ImageDraw

        width = self.query_left + self.query_columns * self.cell_width + MARGIN
        longest_title = max(self.font.getlength(line) for line in self.title)
        size = (max(width, 2 * MARGIN + round(longest_title)), self.top + sum(map(self._height, self.rows)) + MARGIN)
        picture = Image.new("RGB", size, PAPER)
        pen = ImageDraw.Draw(picture)
        for number, line in enumerate(self.title):
            pen.text((MARGIN, MARGIN + number * LINE), line, INK, self.font)
        for left, heading in ((self.support_left, "support"), (self.query_left, "queries")):
            pen.text((left, self.top - LINE - FRAME), heading, INK, self.font)
        y = self.top
        for row in self.rows:
            for number, line in enumerate(self._name(row)):
                pen.text((MARGIN, y + number * LINE), line, INK, self.font)
            self._paste(picture, pen, row.support, self.support_left, y, self.support_columns)
            self._paste(picture, pen, row.query, self.query_left, y, self.query_columns)
            y += self._height(row)
        return picture

    def _paste(
        self, picture: Image.Image, pen: ImageDraw.ImageDraw, tiles: Sequence[Tile], left: int, top: int, columns: int
    ) -> None:
        for number, tile in enumerate(tiles):
            x, y = left + number % columns * self.cell_width, top + number // columns * self.cell_height
            if tile.frame:
                pen.rectangle(
                    (x - FRAME, y - FRAME, x + self.tile_width + FRAME - 1, y + self.tile_height + FRAME - 1), tile.frame
                )
            picture.paste(self._enlarged(tile.image), (x, y))
            for line_number, line in enumerate(self._caption(tile)):
                pen.text((x, y + self.tile_height + FRAME + line_number * CAPTION_LINE), line, INK, self.caption_font)

    def _enlarged(self, image: np.ndarray) -> Image.Image:
        from PIL import Image

        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        return picture.resize((self.tile_width, self.tile_height), Image.Resampling.NEAREST)

    def _height(self, row: ClassRow) -> int:
        lines = max(-(-len(row.support) // self.support_columns), -(-len(row.query) // self.query_columns))
        return max(lines * self.cell_height, len(self._name(row)) * LINE)

    def _name(self, row: ClassRow) -> list[str]:
        return wrapped(row.name, self.font, NAME_WIDTH, self.tile_height // LINE)

    def _caption(self, tile: Tile) -> list[str]:
        return wrapped(tile.caption, self.caption_font, self.cell_width - 2, CAPTION_LINES)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, most_lines: int) -> list[str]:
    """Break text into lines of at most `width` pixels, between words where it can be; an ellipsis ends what is cut."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".lstrip()
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while font.getlength(line) > width:
            fitting = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or font.getlength(line[:n]) <= width)
            lines.append(line[:fitting])
            line = line[fitting:]
    if line:
        lines.append(line)
    if len(lines) > most_lines:
        last = lines[most_lines - 1]
        while last and font.getlength(f"{last}…") > width:
            last = last[:-1]
        lines = [*lines[: most_lines - 1], f"{last}…"]
    return lines


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has letters of many scripts."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
