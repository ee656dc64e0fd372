import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fewbench.benchmark.text.names import curated_names, readable_names
from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.class_lists import listed_classes
from fewbench.tasks.datasets.omniglot import Omniglot
from fewbench.tasks.datasets.split import SPLITS
from fewbench.tasks.datasets.trifeature import Trifeature

SHARED = Path(os.environ.get("FEWBENCH_SHARED") or Path(__file__).parents[4] / "shared") / "data"
# WordNet's first words, and what OpenAI made of them because they are ambiguous or not what the images show.
AMBIGUOUS = {
    "n02012849": ("crane", "crane bird"),
    "n03126707": ("crane", "construction crane"),
    "n01847000": ("drake", "duck"),
    "n03804744": ("nail", "metal nail"),
    "n03710637": ("maillot", "tights"),
    "n03710721": ("maillot", "one-piece bathing suit"),
    "n02963159": ("cardigan", "cardigan"),
    "n02113186": ("Cardigan", "Cardigan Welsh Corgi"),
    "n02108089": ("boxer", "Boxer"),
    "n02109961": ("Eskimo dog", "husky"),
    "n02412080": ("ram", "ram (adult male sheep)"),
    "n02422699": ("impala", "impala (antelope)"),
    "n02879718": ("bow", "hunting bow"),
    "n03594734": ("jean", "jeans"),
    "n03954731": ("plane", "block plane"),
    "n04037443": ("racer", "race car"),
    "n04515003": ("upright", "upright piano"),
    "n13133613": ("ear", "corn cob"),
    "n03337140": ("file", "filing cabinet"),
    "n04067472": ("reel", "fishing casting reel"),
    "n04243546": ("slot", "slot machine"),
    "n02111277": ("Newfoundland", "Newfoundland dog"),
    "n02606052": ("rock beauty", "rock beauty fish"),
    "n02229544": ("cricket", "cricket insect"),
    "n02279972": ("monarch", "monarch butterfly"),
    "n02704792": ("amphibian", "amphibious vehicle"),
    "n03786901": ("mortar", "mortar and pestle"),
    "n04372370": ("switch", "electrical switch"),
    "n03874293": ("paddlewheel", "paddle wheel"),
    "n01494475": ("hammerhead", "hammerhead shark"),
}


def classes(dataset: str, split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    listed = listed_classes(dataset, split)
    return tuple(one.class_id for one in listed), tuple(one.name for one in listed)


def names_file(folder: Path, *lines: str) -> Path:
    path = folder / "names.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def plain(name: str) -> set[str]:
    """The words of a name, without case and plural."""
    return {word.rstrip("s") for word in re.findall(r"\w+", name.lower())}


@pytest.mark.parametrize(("class_id", "words", "curated"), [(key, *value) for key, value in AMBIGUOUS.items()])
def test_ambiguous_words_get_the_curated_form(class_id, words, curated):
    assert readable_names([class_id], [words], None) == (curated,)


def test_the_curated_names_are_at_the_right_ids():
    names = curated_names()
    assert len(names) == 1000
    assert (names["n01440764"], names["n02009229"], names["n15075141"]) == ("tench", "little blue heron", "toilet paper")


@pytest.mark.parametrize(("dataset", "count"), [("mini-imagenet", 100), ("tiered-imagenet", 608)])
def test_every_class_of_imagenets_subsets_is_curated_and_mostly_shares_a_word_with_the_list(dataset, count):
    """A shift of the names against the ids would leave nearly none that share a word."""
    total = shared = 0
    for split in SPLITS:
        class_ids, words = classes(dataset, split)
        names = readable_names(class_ids, words, None)
        assert names == tuple(curated_names()[class_id] for class_id in class_ids)
        shared += sum(bool(plain(mine) & plain(theirs)) for mine, theirs in zip(words, names, strict=True))
        total += len(names)
    assert total == count and shared > 0.9 * total


def test_the_curated_names_share_a_word_with_wordnets_synonyms():
    path = SHARED / "taxonomy" / "words.txt"
    if not path.is_file():
        pytest.skip(f"WordNet's words are not there: {path}")
    synonyms = dict(line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
    apart = {class_id: name for class_id, name in curated_names().items() if not plain(name) & plain(synonyms[class_id])}
    assert len(apart) < 40  # other words for the same: rooster (cock), corn cob (ear), sailboat (yawl), …
    assert {"n01514668": "rooster", "n13133613": "corn cob", "n04612504": "sailboat"}.items() <= apart.items()


def test_other_datasets_keep_their_names():
    assert readable_names(["001.Black_footed_Albatross"], ["Black_footed  Albatross"], None) == ("Black footed Albatross",)
    for dataset in (Trifeature(), Omniglot()):
        class_ids, names = zip(*dataset.class_list("test"), strict=True)
        assert readable_names(class_ids, names, None) == names


def test_wordnet_ids_of_folders_are_read():
    assert readable_names(["birds/n02012849", "n02012849"], ["n02012849", "n02012849"], None) == ("crane bird",) * 2


def test_a_wordnet_id_beyond_ilsvrc_keeps_the_words_of_the_dataset():
    assert readable_names(["n00007846"], ["person"], None) == ("person",)


@pytest.mark.parametrize(
    ("class_ids", "names", "says"),
    [
        (["0", "1"], ["0", "1"], "the dataset has no class names (0, 1); give them: --class-names FILE"),
        (["n00007846"], ["n00007846"], "the dataset has no class names (n00007846); give them"),
        (["a", "b", "c"], ["fox", "12_3", ""], "some classes have no names (b, c); give them: --class-names FILE"),
        ([str(n) for n in range(20)], [str(n) for n in range(20)], "no class names (0, 1, 2 and 17 more)"),
    ],
)
def test_classes_without_names_are_refused_in_one_line(class_ids, names, says):
    with pytest.raises(UsageError) as caught:
        readable_names(class_ids, names, None)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_names_in_other_scripts_are_names():
    assert readable_names(["0"], ["狐"], None) == ("狐",)


def test_a_file_overrides_and_may_name_numbers(tmp_path: Path, listener):
    file = names_file(tmp_path, "name, class_id,more", '"crane, the bird",n02012849,x', "7,3,", "fox,z,")
    assert readable_names(["n02012849", "3"], ["crane", "3"], file, listener) == ("crane, the bird", "7")
    assert listener.said == []  # z may be a class of another split


def test_classes_that_the_file_leaves_out_are_said_and_keep_their_names(tmp_path: Path, listener):
    file = names_file(tmp_path, "class_id,name", "a,fox", "q,owl")
    assert readable_names(["a", "b", "n02012849"], ["x", "bat_x", "crane"], file, listener) == ("fox", "bat x", "crane bird")
    assert listener.said == [f"--class-names {file} leaves out 2 of 3 classes: b, n02012849; no classes of this split: q"]
    with pytest.raises(UsageError, match=r"^some classes have no names \(1\)"):
        readable_names(["a", "1"], ["a", "1"], file)


UNKNOWN = "its first line does not name the columns class_id and name"
NEITHER = "nor do lines begin with a class of this split and go on with its name"


@pytest.mark.parametrize(
    "lines",
    [
        ["a fox", "red deer  a  deer", "z other"],
        ["a\tfox", "red deer\ta deer"],
        ["a,fox", "red deer,a deer"],
        ["a: fox", "red deer: a deer", "red: bird"],
        ["wnid;name", "a;fox", "red deer;a deer"],
        ["Folder\tClass Name\tmore", "a\tfox\t1", "red deer\ta deer\t2"],
    ],
)
def test_names_come_in_the_formats_of_clips_tools(tmp_path: Path, lines):
    assert readable_names(["a", "red", "red deer"], ["x", "red", "y"], names_file(tmp_path, *lines))[::2] == ("fox", "a deer")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["x y", "b z"], f"{UNKNOWN}, but x y; {NEITHER}"),
        (["fox", "owl"], f"{UNKNOWN}, but fox; {NEITHER}"),
        (["class_id,name,name", "a,b,c"], f"{UNKNOWN}, but class_id, name, name; {NEITHER}"),
        (["class_id", "a,b"], f"{UNKNOWN}, but class_id; {NEITHER}"),
        (["class_id,name", "a,b,c"], "a,b,c is not 2 columns as its first line is"),
        (["class_id,name", "a, "], "class a has an empty name"),
        (["class_id,name", "a,fox", "a,owl"], "class a has two names, fox and owl"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, lines, says):
    file = names_file(tmp_path, *lines)
    with pytest.raises(UsageError) as caught:
        readable_names(["a"], ["a"], file)
    assert str(caught.value) == f"--class-names {file}: {says}"


def test_an_empty_an_absent_and_a_binary_file_are_one_line(tmp_path: Path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UsageError, match="does not name the columns"):
        readable_names(["a"], ["a"], tmp_path / "empty.csv")
    with pytest.raises(UserError, match=r"^cannot read"):
        readable_names(["a"], ["a"], tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a CSV file in UTF-8"):
        readable_names(["a"], ["a"], tmp_path / "binary.csv")


def test_classes_that_share_a_name_are_said_once(listener):
    names = readable_names(["a", "b", "c", "d"], ["fox", "Fox", "owl", "bat"], None, listener)
    assert names == ("fox", "Fox", "owl", "bat")
    assert listener.said == ["classes with one name, which their text cannot tell apart: a and b (fox); --class-names FILE can"]


def test_the_one_pair_of_tiered_imagenet_that_shares_a_name_is_said(listener):
    class_ids, words = classes("tiered-imagenet", "train")
    names = readable_names(class_ids, words, None, listener)
    assert [name for name, count in Counter(names).items() if count > 1] == ["missile"]
    assert len(listener.said) == 1 and "n03773504 and n04008634 (missile);" in listener.said[0]
    for dataset, split in [("tiered-imagenet", "test"), ("tiered-imagenet", "val"), *(("mini-imagenet", s) for s in SPLITS)]:
        quiet = type(listener)()
        readable_names(*classes(dataset, split), None, quiet)
        assert quiet.said == []


def test_open_clip_is_imported_for_wordnet_ids_alone(tmp_path: Path):
    file = names_file(tmp_path, "class_id,name", "n02012849,a bird")
    code = (
        "import sys; from pathlib import Path; from fewbench.benchmark.text.names import readable_names as r; "
        f"r(['a'], ['fox'], None); r(['n02012849'], ['x'], Path({str(file)!r})); "
        "assert 'open_clip' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
