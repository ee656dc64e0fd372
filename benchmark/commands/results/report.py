"""`bench report`: one page about the answers of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RESULTS
from ..parts.folders import Results, in_results
from ..parts.lines import say
from ..parts.where import ClassNames, Dataset, Method, Prompts, Testbed, Weights, where


def report(
    records: Annotated[list[Path], typer.Argument(help="Record files, or their paths in the records/ of --results.")],
    output: Annotated[Path, typer.Option(help="File to write: .html, or .md with a folder of pictures beside it.")],
    weights: Weights = None,
    method: Method = None,
    dataset: Dataset = None,
    testbed: Testbed = None,
    prompts: Prompts = None,
    class_names: ClassNames = None,
    prediction_difference: Annotated[
        bool,
        typer.Option(
            "--prediction-difference",
            help="Only how far the answers of trainings of other seeds differ; --output may be a figure, .svg or .png.",
        ),
    ] = False,
    results: Results = RESULTS,
) -> None:
    """Write one page about the answers of runs: classes, confusions, calibration, hardness and the worst episodes.

    The runs must have kept their answers: bench run --keep-predictions.

    Example: bench report results/records/…/protonet-….json --output report.html
    """
    from ...reporting.report.content import report_of
    from ...reporting.report.subject import check_same_images, subject_of
    from ...reporting.report.writing import FIGURE_FORMS, FORMS, check_form, write_report
    from ..parts.terminal import TerminalProgress

    check_form(output, FORMS if not prediction_difference else (*FORMS, *FIGURE_FORMS))
    if prediction_difference:
        _write_difference([in_results(path, results, "records") for path in records], output)
        return
    named = {"method": method, "dataset": dataset, "prompts": prompts, "class_names": class_names}
    files = where(results, weights=weights, testbed=testbed, **named)
    progress = TerminalProgress()
    subjects = [subject_of(in_results(path, results, "records"), files, progress) for path in records]
    check_same_images(subjects)
    write_report(report_of(subjects), output)
    say(output)


def _write_difference(paths: list[Path], output: Path) -> None:
    """Write the report on the difference of trainings, or its figure alone, and print the path."""
    from ....core.files import write_atomically
    from ...records.store import load_record
    from ...reporting.differences import described
    from ...reporting.report.difference import difference_report
    from ...reporting.report.writing import FIGURE_FORMS, write_report

    differences = described([(path, load_record(path)) for path in paths])
    if output.suffix in FIGURE_FORMS:
        write_atomically(output, differences.drawn(output.suffix.removeprefix(".")))
    else:
        write_report(difference_report(differences), output)
    say(output)
