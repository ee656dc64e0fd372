from itertools import combinations, product
from math import log
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.class_lists import listed_classes, listed_taxonomy
from fewbench.tasks.distances import coarsity, jiang_conrath, read_matrix, write_matrix
from fewbench.tasks.taxonomy import Taxonomy

EDGES = [
    ("thing", "animal"),
    ("thing", "car"),
    ("animal", "dog"),
    ("animal", "cat"),
    ("dog", "husky"),
    ("dog", "pug"),
]
CLASSES = ["husky", "pug", "cat", "car"]
COUNTS = np.array([10, 30, 40, 20])


def tree() -> np.ndarray:
    return jiang_conrath(Taxonomy.from_edges(EDGES, "thing", CLASSES), CLASSES, COUNTS)


def test_distances_on_a_tree_worked_out_by_hand():
    distances = tree()
    assert distances[0, 1] == pytest.approx(2 * log(40) - log(10) - log(30))  # dogs
    assert distances[0, 2] == pytest.approx(2 * log(80) - log(10) - log(40))  # animals
    assert distances[1, 2] == pytest.approx(2 * log(80) - log(30) - log(40))
    assert distances[2, 3] == pytest.approx(2 * log(100) - log(40) - log(20))  # things
    assert (distances == distances.T).all()
    assert (np.diag(distances) == 0).all()


def test_distances_follow_the_order_of_the_classes():
    order = [3, 0, 2, 1]
    shuffled = jiang_conrath(Taxonomy.from_edges(EDGES, "thing", CLASSES), [CLASSES[i] for i in order], COUNTS[order])
    assert np.allclose(shuffled, tree()[np.ix_(order, order)])


def test_images_of_an_inner_class_count_below_it():
    classes = ["dog", "husky", "pug", "car"]
    distances = jiang_conrath(Taxonomy.from_edges(EDGES, "thing", classes), classes, np.array([5, 10, 30, 20]))
    assert distances[0, 1] == pytest.approx(log(45) - log(10))  # the dog is itself the common ancestor
    assert distances[1, 2] == pytest.approx(2 * log(45) - log(10) - log(30))
    assert distances[0, 3] == pytest.approx(2 * log(65) - log(45) - log(20))


def test_of_several_common_ancestors_the_smallest_counts():
    parents = {"p": ("root",), "q": ("root",), "a": ("p", "q"), "b": ("p", "q"), "c": ("p",), "d": ("root",)}
    distances = jiang_conrath(Taxonomy("root", parents), ["a", "b", "c", "d"], np.array([1, 1, 1, 1]))
    assert distances[0, 1] == pytest.approx(2 * log(2))  # q holds two, p three
    assert distances[0, 2] == pytest.approx(2 * log(3))
    assert distances[0, 3] == pytest.approx(2 * log(4))


def test_class_without_images_is_refused():
    with pytest.raises(UserError, match="'pug' has no images"):
        jiang_conrath(Taxonomy.from_edges(EDGES, "thing", CLASSES), CLASSES, np.array([10, 0, 40, 20]))


def test_the_more_attributes_two_classes_share_the_nearer_they_are():
    rows = list(product("rgb", "123", "xyz"))
    names = ["".join(row) for row in rows]
    distances = jiang_conrath(Taxonomy.from_attributes(names, rows), names, np.full(27, 7))
    for i, j in combinations(range(27), 2):
        shared = sum(a == b for a, b in zip(rows[i], rows[j], strict=True))
        assert distances[i, j] == pytest.approx(2 * log(27 / 3**shared))


def test_distances_of_the_largest_known_split_are_sound():
    classes = [listed.class_id for listed in listed_classes("tiered-imagenet", "train")]
    distances = jiang_conrath(listed_taxonomy("tiered-imagenet", "train"), classes, np.arange(700, 1051))
    assert distances.shape == (351, 351)
    assert (distances == distances.T).all()
    off_diagonal = distances[~np.eye(351, dtype=bool)]
    assert off_diagonal.min() > 0 and np.isfinite(off_diagonal).all()


def test_coarsity_is_the_mean_squared_distance_over_pairs():
    distances = np.array([[0.0, 1, 2], [1, 0, 4], [2, 4, 0]])
    tasks = np.array([[0, 1, 2], [1, 2, -1], [-1, 0, 1], [2, -1, -1]])
    assert coarsity(distances, tasks).tolist() == pytest.approx([(1 + 4 + 16) / 3, 16, 1, 0])


def test_uniform_tasks_of_tiered_imagenet_have_the_published_coarsity():
    classes = [listed.class_id for listed in listed_classes("tiered-imagenet", "test")]
    distances = jiang_conrath(listed_taxonomy("tiered-imagenet", "test"), classes, np.full(160, 1300))
    rng = np.random.default_rng(0)
    tasks = rng.random((5000, 160)).argsort(axis=1)[:, :5]
    assert coarsity(distances, tasks).mean() == pytest.approx(83, abs=2)


def test_matrix_file_returns_the_same_numbers_in_the_order_asked_for(tmp_path: Path):
    path = tmp_path / "new folder" / "distances.csv"
    write_matrix(path, CLASSES, tree())
    assert path.read_text(encoding="utf-8").startswith(",husky,pug,cat,car\nhusky,0.0,")
    assert (read_matrix(path, CLASSES) == tree()).all()
    assert (read_matrix(path, CLASSES[::-1]) == tree()[::-1, ::-1]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a square matrix"),
        (",a,b\na,0,1\n", "not a square matrix"),
        (",a,b\na,0,1\nb,1\n", "not a square matrix"),
        (",a,b\nb,0,1\na,1,0\n", "do not name the same classes in the same order"),
        (",a\na,0\n", "distances of 1 classes, but the split has 2"),
        (",a,c\na,0,1\nc,1,0\n", "no distances for class 'b'"),
        (",a,b\na,0,far\nb,1,0\n", "not a number"),
        (",a,b\na,0,nan\nb,nan,0\n", "not finite"),
        (",a,b\na,0,inf\nb,inf,0\n", "not finite"),
        (",a,b\na,0,-1\nb,-1,0\n", "negative"),
        (",a,b\na,0,1\nb,1,0.5\n", "to itself is not 0"),
        (",a,b\na,0,1\nb,1.1,0\n", "not symmetric"),
    ],
)
def test_bad_matrices_are_refused_in_one_line(tmp_path: Path, text: str, message: str):
    path = tmp_path / "distances.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_matrix(path, ["a", "b"])
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_absent_matrix_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read"):
        read_matrix(tmp_path / "none.csv", ["a"])
