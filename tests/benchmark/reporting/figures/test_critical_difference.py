import re

import numpy as np

from fewbench.benchmark.reporting.figures.critical_difference import draw_critical_difference, groups_of

# Neighbours are level, the ends are not: two overlapping groups.
APART = np.array([[False, False, True], [False, False, False], [True, False, False]])


def test_groups_are_the_longest_runs_of_level_neighbours():
    assert groups_of(APART) == [(0, 1), (1, 2)]
    assert groups_of(np.zeros((3, 3), dtype=bool)) == [(0, 2)]
    assert groups_of(~np.eye(3, dtype=bool)) == []


def draw():
    order = [1, 0, 2]  # of the ranks; APART is in their order
    return draw_critical_difference(
        ["b", "a $x$", "c"], ["ridge", "protonet", "chance"], [2.0, 1.25, 2.75], APART[np.ix_(order, order)], "a task"
    )


def test_the_best_stands_at_the_top_with_its_rank():
    text = re.findall(r"<text[^>]*>([^<]*)</text>", draw().decode())
    assert text.index("a $x$") < text.index("b") < text.index("c")
    assert {"1.25", "2.00", "2.75", "a task"} <= set(text)


def test_the_same_ranks_give_the_same_bytes():
    assert draw() == draw()
