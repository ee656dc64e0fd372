import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image, ImageColor

from fewbench.benchmark.evaluation.evaluate import Answers
from fewbench.benchmark.evaluation.replay import OpenTask, Replay
from fewbench.benchmark.records.identity import TaskKey
from fewbench.benchmark.reporting.figures.episode import RIGHT, TIED, WRONG, draw_episode, title_of, wrapped
from fewbench.tasks import testbed_sampler
from fewbench.tasks.datasets.split import Split
from fewbench.tasks.episodes import EpisodeBatch
from fewbench.tasks.samplers import Sampler, UniformSampler
from fewbench.tasks.testbed import make_testbed

SIDE, CLASSES, IMAGES = 28, 6, 40


def split_of(channels: int) -> Split:
    """Random images, so that each of them can be found again in a figure."""
    images = np.random.default_rng(0).integers(0, 256, (CLASSES * IMAGES, SIDE, SIDE, channels), dtype=np.uint8)
    names = tuple(f"class {number}" for number in range(CLASSES))
    return Split("made", "test", images, np.arange(CLASSES + 1) * IMAGES, names, names, "0" * 64)


def episode_of(classes: list[int], shots: list[int], queries: int) -> EpisodeBatch:
    """The first images of each class as support, the last as queries."""
    support = [(number * IMAGES + shot, label) for label, number in enumerate(classes) for shot in range(shots[label])]
    query = [((number + 1) * IMAGES - 1 - i, label) for i in range(queries) for label, number in enumerate(classes)]
    rows, labels = (np.array(column)[None] for column in zip(*support, strict=True))
    query_rows, query_labels = (np.array(column)[None] for column in zip(*query, strict=True))
    return EpisodeBatch(rows, labels, query_rows, query_labels, np.array([classes]), np.array([0]))


@dataclass
class Drawn:
    """A drawn figure, uint8 [H, W, 3]."""

    pixels: np.ndarray

    def place(self, image: np.ndarray, factor: int = 3) -> tuple[int, int]:
        """Row and column of the one place where an image stands, enlarged without smoothing."""
        enlarged = np.broadcast_to(image, (SIDE, SIDE, 3)).repeat(factor, axis=0).repeat(factor, axis=1)
        height, width = enlarged.shape[:2]
        starts = np.argwhere((self.pixels[: 1 - height, : 1 - width] == enlarged[0, 0]).all(axis=2))
        found = [(y, x) for y, x in starts if (self.pixels[y : y + height, x : x + width] == enlarged).all()]
        assert len(found) == 1
        return int(found[0][0]), int(found[0][1])


def drawn(split: Split, episode: EpisodeBatch, answers: Answers | None = None) -> Drawn:
    png = draw_episode(split, episode, ["a title", "a longer line of the title"], answers)
    return Drawn(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_stands_enlarged_in_the_row_of_its_class(channels):
    split, episode = split_of(channels), episode_of([4, 1, 2], [2, 2, 2], 3)
    figure = drawn(split, episode)
    support = [figure.place(split.images[row]) for row in episode.support[0]]
    query = [figure.place(split.images[row]) for row in episode.query[0]]
    tops = sorted({y for y, _ in support})
    assert [tops.index(y) for y, _ in support] == episode.support_labels[0].tolist()
    assert [tops.index(y) for y, _ in query] == episode.query_labels[0].tolist()
    assert max(x for _, x in support) < min(x for _, x in query)
    assert len({x for _, x in support}) == 2 and len({x for _, x in query}) == 3


def test_answers_frame_the_queries():
    split, episode = split_of(3), episode_of([0, 3], [1, 1], 2)  # true labels 0, 1, 0, 1
    answers = Answers(np.array([[0, 1, 1, 0]]), np.array([[1.0, 1.0, 0.0, 0.5]]))
    figure = drawn(split, episode, answers)
    colours = []
    for row in episode.query[0]:
        y, x = figure.place(split.images[row])
        frame = [figure.pixels[y - 1, x], figure.pixels[y + 84, x + 83], figure.pixels[y, x - 1], figure.pixels[y + 83, x + 84]]
        assert len({tuple(pixel) for pixel in frame}) == 1
        colours.append(tuple(frame[0]))
    assert colours == [ImageColor.getrgb(name) for name in (RIGHT, RIGHT, WRONG, TIED)]


def test_without_answers_nothing_is_framed():
    split, episode = split_of(1), episode_of([0, 3], [1, 1], 2)
    figure = drawn(split, episode)
    for row in (*episode.query[0], *episode.support[0]):
        y, x = figure.place(split.images[row])
        assert (figure.pixels[y - 1, x : x + 84] == 255).all()


def test_the_predicted_class_stands_below_a_wrong_query_alone():
    split, episode = split_of(3), episode_of([0, 3], [1, 1], 1)
    figure = drawn(split, episode, Answers(np.array([[0, 0]]), np.array([[1.0, 0.0]])))
    (right_y, x), (wrong_y, _) = (figure.place(split.images[row]) for row in episode.query[0])
    below = slice(84 + 4, 84 + 16)
    assert (figure.pixels[right_y:][below, x : x + 84] == 255).all()
    assert (figure.pixels[wrong_y:][below, x : x + 84] < 100).any()


def test_many_images_of_a_class_go_on_below():
    split, episode = split_of(1), episode_of([0, 3], [12, 1], 17)
    figure = drawn(split, episode)
    places = [figure.place(split.images[row]) for row in episode.support[0]]
    first, second = places[:12], places[12]
    assert len({y for y, _ in first[:10]}) == 1
    assert first[10][0] == first[11][0] > first[0][0]
    assert first[10][1] == first[0][1] and first[11][1] == first[1][1]
    assert second[0] > first[11][0]
    queries = [figure.place(split.images[row]) for row in episode.query[0, episode.query_labels[0] == 0]]
    assert [y for y, _ in queries] == [first[0][0]] * 15 + [first[10][0]] * 2


def test_large_images_are_not_enlarged():
    images = np.random.default_rng(0).integers(0, 256, (4, 90, 100, 3), dtype=np.uint8)
    split = Split("made", "test", images, np.array([0, 2, 4]), ("a", "b"), ("a", "b"), "0" * 64)
    both = np.array([[0, 1]])
    episode = EpisodeBatch(np.array([[0, 2]]), both, np.array([[1, 3]]), both, both, np.array([0]))
    pixels = np.asarray(Image.open(io.BytesIO(draw_episode(split, episode, ["title"]))))
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (1, 100, 3))[:, :, 0, 0]  # [H, W', 100, 3]
    assert (windows == images[3][0]).all(axis=(2, 3)).sum() == 1


def test_a_long_title_widens_the_figure():
    split, episode = split_of(1), episode_of([0, 3], [1, 1], 1)
    widths = [Image.open(io.BytesIO(draw_episode(split, episode, ["x" * n]))).width for n in (5, 200)]
    assert widths[1] > widths[0]


def task_of(split: Split, sampler: Sampler) -> OpenTask:
    key = TaskKey("made", "1", "{}", split.fingerprint, "test", sampler.name, "{}", 2, 1, 3, 7)
    return OpenTask(key, split, sampler)


def test_the_title_names_task_and_episode():
    split = split_of(1)
    task = task_of(split, UniformSampler(split.offsets, 7, 2, 1, 3))
    title = title_of(Replay(task, task.episode(4)))
    assert title == ["made, episode 4", "2-way 1-shot, 3 queries, uniform sampler, test split, seed 7"]


def test_the_title_gives_the_coarsity_of_an_episode_of_a_testbed():
    split, distances = split_of(1), np.abs(np.arange(CLASSES) - np.arange(CLASSES)[:, None]).astype(float)
    testbed = make_testbed(split.offsets, distances, ways=2, shots=1, queries=3, tasks=9, alpha=0.0, beta=1.0, seed=0)
    task = task_of(split, testbed_sampler.TestbedSampler(split.offsets, 7, testbed))
    a, b = testbed.episodes.classes[5]
    assert title_of(Replay(task, task.episode(5)))[0] == f"made, episode 5, coarsity {(a - b) ** 2:.2f}"


@pytest.mark.parametrize(("recorded", "told"), [(0.75, ""), (0.25, " (the record says 25.00 %)")])
def test_the_title_gives_the_accuracy_and_where_the_record_has_another(make_record, recorded, told):
    split = split_of(1)
    task = task_of(split, UniformSampler(split.offsets, 7, 2, 1, 2))
    answers = Answers(np.zeros((1, 4), dtype=np.int64), np.array([[1.0, 1.0, 0.5, 0.5]]))
    title = title_of(Replay(task, task.episode(1), answers), make_record([0.1, recorded]))
    assert title[2] == f"protonet, conv4: accuracy 75.00 %{told}"


class Monospaced:
    """A font whose letters are all ten pixels wide."""

    def getlength(self, text):
        return 10 * len(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("red cross", ["red cross"]),
        ("red striped cross", ["red", "striped", "cross"]),
        ("a bb ccc dddd", ["a bb ccc", "dddd"]),
        ("unbreakableword", ["unbreakabl", "eword"]),
        ("a b c d e f g h i j k l m n o p q", ["a b c d e", "f g h i j", "k l m n o…"]),
        ("one two three seven eighteen nineteen", ["one two", "three", "seven…"]),
    ],
)
def test_text_is_wrapped_between_words_and_cut(text, lines):
    assert wrapped(text, Monospaced(), 100, 3) == lines  # type: ignore[arg-type]
