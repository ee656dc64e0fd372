import numpy as np
import pytest

from fewbench.benchmark.reporting.quotes import quotes_of, read_at

OURS = np.resize([0.97, 0.99], 100)  # 98.00 ± 0.20


def beside(boards, numbers):
    """The published numbers beside the rows of the only board: number, verdict and mark in each column."""
    (quotes,) = quotes_of(boards, numbers)
    return {
        boards[0].rows[place].method: [
            None if cell is None else (cell.number.printed, cell.verdict, cell.contested) for cell in row.cells
        ]
        for place, row in quotes.beside.items()
    }


@pytest.mark.parametrize(
    ("accuracy", "half_width", "verdict"),
    [
        ("98.1", "", "within"),
        ("98.5", "", "below"),
        ("98.5", "0.5", "within"),
        ("97.5", "0.1", "above"),
    ],
)
def test_a_number_stands_beside_ours_with_the_verdict_of_both_intervals(
    trained, boards, published, accuracy, half_width, verdict
):
    number = published(accuracy=accuracy, half_width=half_width)
    found = boards([trained(OURS)])
    assert beside(found, [number]) == {"protonet": [(number.printed, verdict, False)]}
    (quotes,) = quotes_of(found, [number])
    cell = quotes.beside[0].cells[0]
    assert cell is not None and cell.difference == pytest.approx(98 - float(accuracy))


@pytest.mark.parametrize(
    "other",
    [
        {"method": "maml"},
        {"backbone": "resnet12"},
        {"pretraining": "imagenet-dino"},
        {"dataset": "cub-200"},
        {"ways": "20"},
        {"shots": "5"},
        {"queries": "1"},
        {"setting": "transductive"},
    ],
)
def test_a_number_of_another_experiment_stands_nowhere_beside(trained, boards, published, other):
    assert beside(boards([trained(OURS)]), [published(**other)]) == {}


@pytest.mark.parametrize(
    ("kind", "paper", "source", "name", "address"),
    [
        ("paper", "1703.05175", "https://arxiv.org/abs/1904.03758", "1703.05175", "https://arxiv.org/abs/1703.05175"),
        ("rerun", "1703.05175", "https://arxiv.org/abs/1904.03758", "1904.03758", "https://arxiv.org/abs/1904.03758"),
        ("quoted", "1703.05175", "https://example.org/table", "example.org", "https://example.org/table"),
        (
            *("quoted", "", f"some/board@{'a' * 40}:results of 2020.md", "some/board"),
            f"https://github.com/some/board/blob/{'a' * 40}/results%20of%202020.md",
        ),
        ("paper", "ICCV 2021", "https://arxiv.org/abs/1904.03758", "ICCV 2021", ""),
    ],
)
def test_a_number_is_named_by_what_prints_it(published, kind, paper, source, name, address):
    assert read_at(published(kind=kind, paper=paper, source=source)) == (name, address)


def test_the_papers_own_number_comes_first_and_a_rerun_that_differs_marks_it(trained, boards, published):
    own = published(accuracy="98.8", half_width="0.2")
    rerun = published(accuracy="96.0", half_width="0.2", kind="rerun", source="https://example.org")
    found = boards([trained(OURS)])
    assert beside(found, [rerun, own]) == {"protonet": [("98.8 ± 0.2", "below", True)]}
    assert beside(found, [rerun]) == {"protonet": [("96.0 ± 0.2", "above", False)]}


def test_each_column_has_its_own_number(trained, boards, published):
    five = trained(OURS, task={"shots": 5})
    numbers = [published(), published(shots="5", accuracy="98.1")]
    assert beside(boards([trained(OURS), five]), numbers) == {"protonet": [("98.8", "below", False), ("98.1", "within", False)]}


def test_a_method_that_is_trained_on_episodes_is_compared_as_such(trained, boards, published):
    pretrained = trained(np.full(100, 0.99), meta=False, weights="b")
    assert beside(boards([pretrained]), [published()]) == {}
    same = trained(np.full(100, 0.99), meta=False, weights="b", name="simpleshot")
    assert beside(boards([same]), [published(method="simpleshot")]) == {"simpleshot": [("98.8", "above", False)]}
    (quotes,) = quotes_of(boards([pretrained, trained(OURS)]), [published()])
    (place,) = quotes.beside
    assert boards([pretrained, trained(OURS)])[0].rows[place].training == "meta-trained on omniglot"


def test_each_number_stands_beside_the_best_run_of_its_task(trained, boards, published):
    numbers = [published(), published(shots="5", accuracy="99.7")]
    one, five = trained(OURS, weights="a"), trained(OURS, weights="b", task={"shots": 5})
    worse = trained(OURS - 0.1, weights="b")
    assert beside(boards([one, five, worse]), numbers) == {
        "protonet (weights=a)": [("98.8", "below", False), None],
        "protonet (weights=b)": [None, ("99.7", "below", False)],
    }


def test_networks_that_saw_other_data_are_compared_with_no_paper(make_record, boards, published):
    assert beside(boards([make_record(OURS)]), [published()]) == {}  # trained on trifeature
    external = {"pretraining": {"dataset": "omniglot", "recipe": "x", "external": True}}
    assert beside(boards([make_record(OURS, backbone=external)]), [published()]) == {}


def test_the_best_published_numbers_stand_below(trained, boards, published):
    numbers = [
        published(),
        *(published(method=f"other-{i}", accuracy=f"{90 + i}") for i in range(5)),
        published(method="other-4", accuracy="94.5", shots="5"),
        published(method="external", accuracy="99.9", pretraining="imagenet-dino"),
        published(method="quoted", accuracy="99.9", kind="quoted"),
        published(method="transductive", accuracy="99.9", setting="transductive"),
    ]
    (quotes,) = quotes_of(boards([trained(OURS), trained(OURS, task={"shots": 5})]), numbers)
    found = [(row.first.method, [cell and cell.number.accuracy for cell in row.cells]) for row in quotes.best]
    assert found == [("other-4", [94.0, 94.5]), ("other-3", [93.0, None]), ("other-2", [92.0, None])]


def test_semantic_tasks_other_splits_and_corrupted_images_have_no_published_numbers(trained, boards, published):
    corruption = {"name": "noise", "severity": 3, "version": 1, "clean_fingerprint": "0" * 64}
    for task in ({"sampler": "semantic"}, {"split": "val"}, {"corruption": corruption}):
        (quotes,) = quotes_of(boards([trained(OURS, task=task)]), [published(), published(method="other")])
        assert (quotes.beside, quotes.best) == ({}, ())
