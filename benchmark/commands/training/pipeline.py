"""`bench pipeline`: pretraining, meta-training and evaluation from one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....core.options import Settings
from ...config import RESULTS
from ...sweep.engine import Engine
from ...training.options import Effort
from ..parts.declared import takes
from ..parts.folders import OlderResults, Results
from ..parts.lines import say

if TYPE_CHECKING:
    from ...pipeline.running import Stage


@takes(Effort, Engine)
def pipeline(
    effort: Settings,
    engine: Settings,
    method: Annotated[str, typer.Argument(help="Method of the stages that name none, such as pmf.")],
    config: Annotated[Path, typer.Option(help="TOML file with the tables pretrain, train and run (docs/pipeline.md).")],
    weights: Annotated[str | None, typer.Option(help="Weights to start from, instead of those that the file names.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    results: Results = RESULTS,
    output: OlderResults = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would be done.")] = False,
) -> None:
    """Pretrain, meta-train and evaluate; finished stages are not repeated.

    Example: bench pipeline pmf --config pmf.toml
    """
    from ...pipeline.reading import read_pipeline

    chosen, on = Effort(**effort), Engine(**engine)
    stages = read_pipeline(config, method, weights)
    from ...pipeline.running import Call, carry_out_pipeline, describe  # torch is imported from here on
    from ..parts.terminal import TerminalProgress
    from ..run import print_outcomes

    call = Call(output if output and results == RESULTS else results, TerminalProgress(), device, **vars(chosen), engine=on)
    if dry_run:
        _print_stages(describe(stages, call))
        return
    finished = carry_out_pipeline(stages, call)
    if finished.trained:
        _print_stages(finished.trained)
    if finished.outcomes:
        print_outcomes(list(finished.outcomes))
    else:
        say(finished.trained[-1].path)


def _print_stages(stages: list[Stage] | tuple[Stage, ...]) -> None:
    from ..parts.terminal import print_table

    rows = [[one.name, one.what, one.state, str(one.path or "known after the stage before it")] for one in stages]
    print_table(("stage", "what", "state", "file"), rows)
