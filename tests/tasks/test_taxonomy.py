from itertools import product
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.taxonomy import ROOT, Taxonomy

EDGES = [
    ("thing", "animal"),
    ("thing", "car"),
    ("animal", "dog"),
    ("animal", "cat"),
    ("dog", "husky"),
    ("dog", "pug"),
]


def test_union_of_paths_keeps_branches_and_drops_what_no_class_is_below():
    taxonomy = Taxonomy.from_edges([*EDGES, ("thing", "plant")], "thing", ["husky", "pug", "cat", "car"])
    assert taxonomy.parents == {
        "husky": ("dog",),
        "pug": ("dog",),
        "dog": ("animal",),
        "cat": ("animal",),
        "animal": ("thing",),
        "car": ("thing",),
    }


def test_nodes_of_one_parent_and_one_child_are_left_out_unless_they_are_classes():
    edges = [("root", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("root", "e")]
    assert Taxonomy.from_edges(edges, "root", ["d", "e"]).parents == {"d": ("root",), "e": ("root",)}
    assert Taxonomy.from_edges(edges, "root", ["d", "e", "b"]).parents == {"d": ("b",), "b": ("root",), "e": ("root",)}


def test_the_shortest_path_is_taken():
    edges = [("root", "near"), ("near", "x"), ("root", "zfar"), ("zfar", "zfarther"), ("zfarther", "x"), ("zfarther", "y")]
    edges += [("near", "z")]
    taxonomy = Taxonomy.from_edges(edges, "root", ["x", "y", "z"])
    assert taxonomy.parents["x"] == ("near",)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_tie_goes_to_the_largest_identifier_whatever_the_order_of_the_edges(turn: int):
    edges = [("root", "a"), ("root", "b"), ("a", "x"), ("b", "x"), ("a", "y"), ("b", "z")]
    taxonomy = Taxonomy.from_edges(edges[::turn], "root", ["x", "y", "z"])
    assert taxonomy.parents == {"x": ("b",), "z": ("b",), "b": ("root",), "y": ("root",)}


def test_members_of_an_inner_class_include_itself():
    taxonomy = Taxonomy.from_edges(EDGES, "thing", ["dog", "husky", "pug", "car"])
    members = taxonomy.members(["husky", "car", "dog", "pug"])
    assert members["dog"].tolist() == [0, 2, 3]
    assert members["thing"].tolist() == [0, 1, 2, 3]
    assert members["pug"].tolist() == [3]


def test_class_outside_the_taxonomy_is_refused():
    with pytest.raises(UserError, match="'unicorn' is not below 'thing'"):
        Taxonomy.from_edges(EDGES, "thing", ["husky", "unicorn"])
    with pytest.raises(UserError, match="'unicorn' is not in the taxonomy"):
        Taxonomy.from_edges(EDGES, "thing", ["husky", "pug"]).members(["husky", "unicorn"])


def test_parent_table_from_mapping_joins_the_topmost_nodes():
    taxonomy = Taxonomy.from_parent_table({"husky": "dog", "pug": "dog", "oak": "tree", "fir": "tree", "tree": None})
    assert taxonomy.parents == {
        "husky": ("dog",),
        "pug": ("dog",),
        "dog": (ROOT,),
        "oak": ("tree",),
        "fir": ("tree",),
        "tree": (ROOT,),
    }


def test_parent_table_from_csv_says_the_same_as_the_mapping(tmp_path: Path):
    path = tmp_path / "parents.csv"
    path.write_text("parent,class,remark\ndog,husky,\ndog,pug,small\n,cat,\n", encoding="utf-8")
    mapping = {"husky": "dog", "pug": "dog", "cat": None}
    assert Taxonomy.from_parent_table(path) == Taxonomy.from_parent_table(mapping)


def test_parents_in_a_circle_are_refused():
    with pytest.raises(UserError, match="in a circle"):
        Taxonomy.from_parent_table({"a": "b", "b": "c", "c": "b", "d": None})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("child,up\na,b\n", "names the columns class and parent"),
        ("", "names the columns class and parent"),
        ("class,parent\na,b\na,c\n", "'a' is listed twice"),
        ("class,parent\na\n", "does not have 2 columns"),
    ],
)
def test_bad_parent_tables_are_refused_in_one_line(tmp_path: Path, text: str, message: str):
    path = tmp_path / "parents.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        Taxonomy.from_parent_table(path)
    assert "\n" not in str(error.value)


def test_absent_or_binary_parent_table_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read"):
        Taxonomy.from_parent_table(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match="not a CSV file"):
        Taxonomy.from_parent_table(tmp_path / "image.csv")


def test_folder_tree_follows_the_folders():
    folders = ["animals/dogs/husky", "animals/dogs/pug", "animals/cat", "car"]
    taxonomy = Taxonomy.from_folder_tree(folders)
    assert taxonomy.parents == {
        "animals/dogs/husky": ("animals/dogs",),
        "animals/dogs/pug": ("animals/dogs",),
        "animals/dogs": ("animals",),
        "animals/cat": ("animals",),
        "animals": (ROOT,),
        "car": (ROOT,),
    }


def test_attributes_put_a_node_for_shared_values_above_the_classes_that_share_them():
    rows = [("red", "round"), ("red", "square"), ("blue", "round")]
    taxonomy = Taxonomy.from_attributes(["a", "b", "c"], rows)
    above = {node: places.tolist() for node, places in taxonomy.members(["a", "b", "c"]).items() if len(places) > 1}
    assert above == {"('red', None)": [0, 1], "(None, 'round')": [0, 2], "(None, None)": [0, 1, 2]}


def test_classes_without_shared_attributes_hang_from_the_root():
    taxonomy = Taxonomy.from_attributes(["a", "b"], [("red", "round"), ("blue", "square")])
    assert taxonomy.parents == {"a": (taxonomy.root,), "b": (taxonomy.root,)}


def test_members_of_an_attribute_node_are_the_classes_with_that_value():
    rows = list(product("rgb", "123", "xyz"))
    names = ["".join(row) for row in rows]
    members = Taxonomy.from_attributes(names, rows).members(names)
    assert members["('g', None, 'z')"].tolist() == np.flatnonzero([row[0] == "g" and row[2] == "z" for row in rows]).tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("red",), ("red", "round")], "equally many attributes"),
        ([("red",)], "row of equally many attributes for every class"),
        ([tuple("abcdefghi")] * 2, "at most 8"),
    ],
)
def test_bad_attribute_tables_are_refused(rows: list[tuple[str, ...]], message: str):
    with pytest.raises(UserError, match=message):
        Taxonomy.from_attributes(["a", "b"], rows)
