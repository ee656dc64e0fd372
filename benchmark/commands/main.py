"""The entry point: `bench`. Errors become one line on standard error and an exit code."""

from __future__ import annotations

import io
import os
import sys
import warnings
from pathlib import Path
from typing import NoReturn

import typer

from ...core.errors import LONGEST, UserError, listed, one_line
from ...core.heap import keep_heap
from ..plugin_errors import in_one_line
from . import env, listing, probe, run, show, speed
from .inputs import data, distances, features, testbed
from .photos import fit, predict, recommend
from .results import compare, leaderboard, merge, plot, power, report, rerun, site, submit, table
from .training import convert_weights, pipeline, pretrain, reproduce, train

INTERRUPTED = 130  # exit code after Ctrl-C

app = typer.Typer(
    name="bench",
    help="Few-shot image classification: evaluate methods on episodes, keep the records, make the leaderboard.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("table")(table.table)
app.command("site")(site.site)
app.command("fit")(fit.fit)
app.command("predict")(predict.predict)
app.command("recommend")(recommend.recommend)
app.command("compare")(compare.compare)
app.command("power")(power.power)
app.command("rerun")(rerun.rerun)
app.command("report")(report.report)
app.command("merge")(merge.merge)
app.command("submit")(submit.submit)
app.command("list")(listing.list_)
app.command("show")(show.show)
app.command("env")(env.env)
app.command("speed")(speed.speed)
app.command("probe")(probe.probe)
app.command("pretrain")(pretrain.pretrain)
app.command("train")(train.train)
app.command("pipeline")(pipeline.pipeline)
app.command("convert-weights")(convert_weights.convert_weights)
app.command("reproduce")(reproduce.reproduce)
data.app.command("distances")(distances.write)
app.add_typer(data.app, name="data")
app.add_typer(features.app, name="features")
app.add_typer(plot.app, name="plot")
app.add_typer(testbed.app, name="testbed")

# Exceptions that a user's file or value can cause, in words; all others are mistakes of this program.
OF_INPUT: dict[type[Exception], str] = {
    OSError: "a file cannot be read or written",
    RecursionError: "nested too deeply",
    OverflowError: "a number is too large",
    UnicodeError: "text has another encoding than expected",
}


def main() -> None:
    """Run `bench`. Exit codes: 0 done, 1 a failed run, 2 bad usage, 130 interrupted."""
    if sys.stderr is None:  # the shell closed it
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if sys.stdout is None:
        _fail("standard output is closed; send it to a file, or to /dev/null", 1)
    os.environ.pop("MPLBACKEND", None)  # figures are drawn into files, whatever shows windows
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "±" loses that sign, not the run's table
    keep_heap()
    # torch warns of each operation that vmap makes slow; methods that may use vmap measure whether it is faster.
    warnings.filterwarnings("ignore", message="There is a performance drop because we have not yet implemented the batching")
    try:
        with in_one_line():
            code = app(standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except tuple(OF_INPUT) as error:
        _fail(_told(error), 1)
    except Exception as error:
        # Bad options. The class has moved between releases of Typer; its `format_message` has not.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        _fail(message(), getattr(error, "exit_code", 2))
    if code == INTERRUPTED:  # Typer, too, turns Ctrl-C into this code
        _fail("interrupted; finished work is kept, and the same command goes on from there", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _told(error: Exception) -> str:
    """A Python error in words: the failure, and the files that the command names."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and _cannot_print():
        return f"cannot write to standard output: {error.strerror or error}"
    what = next(words for kind, words in OF_INPUT.items() if isinstance(error, kind))
    words = [word.rpartition("=")[2] for word in sys.argv[1:]]
    files = listed(word for word in words if len(word) < LONGEST and Path(word).is_file())
    return f"{what}: {error or type(error).__name__}{f' (reading {files})' if files else ''}"


def _cannot_print() -> bool:
    """Whether standard output is closed; if so, replace it, so that Python does not try to write again when it ends."""
    try:
        os.write(1, b"\n")
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return True
    return False


def _fail(message: str, code: int) -> NoReturn:
    if message:  # a bare `bench` or `bench data` has printed its help and has nothing to add
        sys.stderr.write(f"error: {one_line(' '.join(message.split()))}\n")
    sys.exit(code)
