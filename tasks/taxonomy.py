"""A taxonomy of classes: a directed acyclic graph of is-a edges from a root down to the classes of a dataset.

The class graph is that of Bennequin et al. 2022 (arXiv:2205.05155): the union of one shortest path from the root to each
class, without the nodes that have exactly one parent and one child.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np

from ..core.errors import UserError
from ..core.tables import csv_rows

ROOT = "(root)"  # the node above the topmost ones of a taxonomy without a named root
MOST_ATTRIBUTES = 8  # with n attributes, 2ⁿ nodes are above each class

Parents = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Taxonomy:
    """A directed acyclic graph of nodes, some of which are the classes of a dataset. A class may be an inner node.

    Attributes:
        root: the node above all others.
        parents: the nodes directly above each node, sorted; the root is not a key.
    """

    root: str
    parents: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_edges(cls, edges: Iterable[tuple[str, str]], root: str, classes: Sequence[str]) -> Taxonomy:
        """The union of one shortest path from the root to each class, without nodes that have one parent and one child.

        Where a node has several parents on shortest paths, the one with the largest identifier (as text) is taken. So the
        result is a tree and does not depend on the order of the edges. (In WordNet this makes wine a drink; the smallest
        identifier would make it a drug.) Bennequin et al. break ties by the order of their file, and also keep the edges that
        join nodes of different paths.

        Args:
            edges: (parent, child) pairs; pairs that are not below the root are ignored.
            root: the first node of every path.
            classes: the nodes to which paths lead.

        Raises:
            UserError: a class cannot be reached from the root.
        """
        above = defaultdict(set)
        below = defaultdict(set)
        for parent, child in edges:
            above[child].add(parent)
            below[parent].add(child)
        depth = _depths(below, root)
        parents: Parents = {}
        for node in classes:
            if node not in depth:
                raise UserError(f"class '{node}' is not below '{root}' in the taxonomy: it is not listed, or in a circle")
            while node != root and node not in parents:
                nearer = max(parent for parent in above[node] if depth.get(parent) == depth[node] - 1)
                parents[node] = (nearer,)
                node = nearer
        return cls(root, _without_tunnels(parents, set(classes)))

    @classmethod
    def from_parent_table(cls, table: Path | Mapping[str, str | None], classes: Sequence[str] | None = None) -> Taxonomy:
        """A tree, given as the parent of each node.

        Args:
            table: parent by node (None or "" for no parent), or a CSV file with columns `class` and `parent`, one row a node.
                A node that appears only as a parent is topmost; a common root stands above all topmost nodes.
            classes: the nodes that are classes; by default all nodes that are not parents.

        Raises:
            UserError: the file cannot be read or lists a node twice, or a class is missing or in a circle of parents.
        """
        parent_of = read_parents(table) if isinstance(table, Path) else dict(table)
        inner = {parent for parent in parent_of.values() if parent}
        edges = [(parent or ROOT, node) for node, parent in parent_of.items()]
        edges += [(ROOT, node) for node in inner if node not in parent_of]
        if classes is None:
            classes = [node for node in parent_of if node not in inner]
        return cls.from_edges(edges, ROOT, classes)

    @classmethod
    def from_folder_tree(cls, folders: Sequence[str]) -> Taxonomy:
        """The tree of the classes' folders.

        Args:
            folders: each class's folder relative to the dataset's, such as "animals/dogs/husky"; also the class identifiers.
        """
        edges = []
        for folder in folders:
            *upper, _ = [str(parent) for parent in PurePosixPath(folder).parents]  # the last is the dataset's folder itself
            path = [ROOT, *reversed(upper), folder]
            edges += pairwise(path)
        return cls.from_edges(edges, ROOT, folders)

    @classmethod
    def from_attributes(cls, classes: Sequence[str], attributes: Sequence[Sequence[str]]) -> Taxonomy:
        """A graph in which a node for every subset of its attributes stands above each class.

        The lowest common ancestor of two classes is the node of their common attributes. Classes that share many are near.

        Args:
            classes: identifiers.
            attributes: the attributes of each class, the same number for all. Equal values at different places are different
                attributes.

        Raises:
            UserError: the classes differ in the number of attributes, or have more than eight.
        """
        widths = {len(row) for row in attributes}
        if len(widths) != 1 or len(classes) != len(attributes):
            raise UserError("a taxonomy from attributes needs a row of equally many attributes for every class")
        if max(widths) > MOST_ATTRIBUTES:
            raise UserError(f"a taxonomy from attributes takes at most {MOST_ATTRIBUTES} of them, not {max(widths)}")
        parents: Parents = {}
        for class_id, row in zip(classes, attributes, strict=True):
            parents[class_id] = (repr(tuple(row)),)
            pending: list[tuple[str | None, ...]] = [tuple(row)]
            while pending:
                subset = pending.pop()
                wider = [(*subset[:i], None, *subset[i + 1 :]) for i, value in enumerate(subset) if value is not None]
                if wider and repr(subset) not in parents:
                    parents[repr(subset)] = tuple(sorted(map(repr, wider)))
                    pending += wider
        return cls(repr((None,) * max(widths)), _without_tunnels(parents, set(classes)))

    def members(self, classes: Sequence[str]) -> dict[str, np.ndarray]:
        """Find the classes at or below each node.

        Args:
            classes: identifiers.

        Returns:
            By node: the indices of these classes in `classes`, ascending. Nodes without any are left out.

        Raises:
            UserError: a class is not in the taxonomy.
        """
        places = defaultdict(list)
        for place, node in enumerate(classes):
            if node not in self.parents and node != self.root:
                raise UserError(f"class '{node}' is not in the taxonomy")
            for ancestor in self._at_or_above(node):
                places[ancestor].append(place)
        return {node: np.array(found) for node, found in places.items()}

    def _at_or_above(self, node: str) -> set[str]:
        seen, pending = {node}, [node]
        while pending:
            new = set(self.parents.get(pending.pop(), ())) - seen
            seen |= new
            pending += new
        return seen


def _depths(below: Mapping[str, Collection[str]], root: str) -> dict[str, int]:
    """The length of the shortest path from the root to every node below it."""
    depth = {root: 0}
    level = [root]
    while level:
        following = {child for node in level for child in below.get(node, ()) if child not in depth}
        depth |= dict.fromkeys(following, depth[level[0]] + 1)
        level = list(following)
    return depth


def _without_tunnels(parents: Parents, classes: Collection[str]) -> Parents:
    """Remove every node that is not a class and has exactly one parent and one child; join these two."""
    parents = dict(parents)
    below = defaultdict(set)
    for node, above in parents.items():
        for parent in above:
            below[parent].add(node)
    pending = list(parents)
    while pending:
        node = pending.pop()
        if node in classes or len(parents.get(node, ())) != 1 or len(below[node]) != 1:
            continue
        (parent,), (child,) = parents.pop(node), below.pop(node)
        parents[child] = tuple(sorted({*parents[child], parent} - {node}))
        below[parent] = {*below[parent], child} - {node}
        pending += [parent, child]  # where the child already was a child of the parent, the parent has one child less
    return parents


def read_parents(path: Path) -> dict[str, str]:
    """The parent of each node in a CSV file with columns `class` and `parent`; "" where it has none.

    Raises:
        UserError: the file cannot be read, is no such table, or lists a node twice.
    """
    header, *rows = csv_rows(path) or [[]]
    if not {"class", "parent"} <= set(header):
        raise UserError(f"{path}: a parent table is a CSV file whose first line names the columns class and parent")
    node, parent = header.index("class"), header.index("parent")
    parent_of: dict[str, str] = {}
    for row in rows:
        if len(row) != len(header):
            raise UserError(f"{path}: the row '{','.join(row)}' does not have {len(header)} columns")
        if row[node] in parent_of:
            raise UserError(f"{path}: class '{row[node]}' is listed twice")
        parent_of[row[node]] = row[parent]
    return parent_of
