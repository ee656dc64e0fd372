from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from fewbench.benchmark.text.captions import Captions, captions_of_file, captions_of_names
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.split import Split
from fewbench.tasks.datasets.trifeature import Trifeature

NAMES = ("red striped square", "blue striped square", "gull")


@pytest.fixture
def split() -> Split:
    """Three classes of 4, 2 and 3 images."""
    images = np.zeros((9, 4, 4, 3), np.uint8)
    return Split("birds", "train", images, np.array([0, 4, 6, 9]), ("a", "b", "c"), NAMES, "0" * 64)


def drawn(captions: Captions, rows: list[int], times: int, seed: int = 0) -> list[list[str]]:
    """What is said of each image, time after time, without the template."""
    generator = Generator().manual_seed(seed)
    return [[captions.phrases[p] for p in captions.draw(torch.tensor(rows), generator)[0]] for _ in range(times)]


def test_names_stay_whole_unless_words_are_dropped(split: Split):
    captions = captions_of_names(split, NAMES, 0.0, "birds")
    assert captions.phrases == NAMES
    assert {tuple(said) for said in drawn(captions, [0, 4, 5, 8], 20)} == {(NAMES[0], NAMES[1], NAMES[1], NAMES[2])}


def test_dropped_words_leave_the_others_in_order_and_the_same_words_are_the_same_phrase(split: Split):
    captions = captions_of_names(split, NAMES, 0.4, "birds")
    said = drawn(captions, [0] * 400 + [8], 5)
    red = [phrase for row in said for phrase in row[:-1]]
    assert {*red} == {NAMES[0], "red", "striped", "square", "red striped", "red square", "striped square"}
    assert red.count(NAMES[0]) / len(red) == pytest.approx(0.6, abs=0.03)
    assert red.count("red square") / len(red) == pytest.approx(0.4 / 6, abs=0.02)
    assert {row[-1] for row in said} == {"gull"}  # a single word is never dropped
    assert len({*captions.phrases}) == len(captions.phrases) == 7 + 7 - 3 + 1  # "striped", "square" and both are in two names


def test_templates_are_those_of_the_prompts_and_all_are_drawn(split: Split):
    captions = captions_of_names(split, NAMES, 0.0, "trifeature")
    assert captions.templates[0] == "a photo of a {}." and len(captions.templates) == len({*captions.templates}) > 3
    _, templates = captions.draw(torch.zeros(500, dtype=torch.int64), Generator().manual_seed(0))
    assert {*templates.tolist()} == {*range(len(captions.templates))}
    assert captions.text(0, 0) == "a photo of a red striped square."


def test_draws_depend_on_the_generator_alone(split: Split):
    captions = captions_of_names(split, NAMES, 0.5, "birds")
    before = torch.random.get_rng_state()
    assert drawn(captions, [0] * 50, 2, seed=3) == drawn(captions, [0] * 50, 2, seed=3) != drawn(captions, [0] * 50, 2, seed=4)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_file_has_several_captions_of_a_class(split: Split, tmp_path: Path):
    lines = ["class_id,caption", "a,one", 'a,"two,  and more"', "b,one", "c,three", "z,of another split"]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    captions = captions_of_file(tmp_path / "captions.csv", Trifeature(), split, SILENT)
    said = drawn(captions, [0] * 300 + [4, 8], 2)
    assert said[0].count("one") == pytest.approx(150, abs=30) and {*said[0][:300]} == {"one", "two, and more"}
    assert said[0][300:] == ["one", "three"]
    assert captions.text(captions.phrases.index("three"), 0) == "three"


def test_a_file_has_captions_of_single_images(tmp_path: Path):
    split = Trifeature().split("val")
    sources = [f"{class_id} image {image:02}" for class_id in split.class_ids for image in range(40)]
    lines = ["caption,source", *(f"picture {row},{source}" for row, source in enumerate(sources))]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    captions = captions_of_file(tmp_path / "captions.csv", Trifeature(), split, SILENT)
    assert drawn(captions, [0, 7, 6399], 1) == [["picture 0", "picture 7", "picture 6399"]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"its first line does not name the columns class_id,caption or source,caption$"),
        ("class_id,text\na,one", r"does not name the columns"),
        ("class_id,source,caption\na,x,one", r"does not name the columns"),
        ("class_id,caption\na,one\nb", r"captions\.csv: b is not 2 columns as its first line is$"),
        ("class_id,caption\na,one\nb, ", r"no caption for 2 of 3: b, c$"),
    ],
)
def test_a_file_that_lacks_something_is_one_line(content: str, said: str, split: Split, tmp_path: Path):
    (tmp_path / "captions.csv").write_text(content)
    with pytest.raises(UsageError, match=said) as caught:
        captions_of_file(tmp_path / "captions.csv", Trifeature(), split, SILENT)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(split: Split, tmp_path: Path):
    with pytest.raises(UserError, match="cannot read"):
        captions_of_file(tmp_path / "captions.csv", Trifeature(), split, SILENT)


def test_images_without_names_need_captions_of_classes(split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fewbench.benchmark.text.captions.sources_of", lambda folder: ())
    (tmp_path / "captions.csv").write_text("source,caption\nx,one")
    with pytest.raises(UsageError, match="the images have no names"):
        captions_of_file(tmp_path / "captions.csv", Trifeature(), split, SILENT)
