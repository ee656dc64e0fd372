"""Runs that end early: what is kept, what goes on, and that the result is that of an undisturbed run."""

from dataclasses import replace
from pathlib import Path

import pytest

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation import runner
from fewbench.benchmark.records.store import load_record
from fewbench.core.errors import Interrupted, UserError
from fewbench.core.progress import SILENT

from .conftest import CHUNK, EPISODES, content

pytestmark = pytest.mark.usefixtures("same_conditions")


def files(config: RunConfig) -> list[Path]:
    return sorted(path for path in config.results.rglob("*") if path.is_file())


@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["flushed", "not flushed"])
@pytest.mark.parametrize("episode", [CHUNK, 4 * CHUNK + 3])
def test_ctrl_c_leaves_a_state_from_which_the_same_run_goes_on(
    config: RunConfig, stopped_at, episode: int, seconds: float, monkeypatch: pytest.MonkeyPatch, listener
):
    monkeypatch.setattr(runner, "FLUSH_SECONDS", seconds)
    undisturbed = content(runner.run(replace(config, results=config.results / "undisturbed"), SILENT).path)
    stopped_at(episode, KeyboardInterrupt())
    done = episode // CHUNK * CHUNK
    with pytest.raises(Interrupted, match=f"^interrupted after {done} of {EPISODES} episodes; the same command") as caught:
        runner.run(config, SILENT)
    assert caught.value.exit_code == 130
    (partial,) = (path for path in files(config) if "undisturbed" not in path.parts)
    assert partial.name.endswith(".partial.json")
    assert (load_record(partial).status, load_record(partial).n_episodes) == ("partial", done)
    stopped_at(None)
    outcome = runner.run(config, listener)
    assert listener.said == [f"resuming after {done} of {EPISODES} episodes"]
    assert not outcome.reused and not partial.exists()
    assert content(outcome.path) == undisturbed


def test_several_interruptions_end_in_the_same_record(config: RunConfig, stopped_at):
    undisturbed = content(runner.run(replace(config, results=config.results / "undisturbed"), SILENT).path)
    left = []
    for _ in range(3):
        stopped_at(CHUNK, KeyboardInterrupt())
        with pytest.raises(Interrupted):
            runner.run(config, SILENT)
        left += [load_record(path) for path in config.results.glob("records/**/*.partial.json")]
    assert [record.n_episodes for record in left] == [CHUNK, 2 * CHUNK, 3 * CHUNK]
    seconds = [record.timing.total_seconds for record in left]
    assert seconds == sorted(seconds)  # the time of all attempts
    stopped_at(None)
    assert content(runner.run(config, SILENT).path) == undisturbed


def test_ctrl_c_before_the_first_chunk_leaves_nothing(config: RunConfig, stopped_at):
    stopped_at(0, KeyboardInterrupt())
    with pytest.raises(Interrupted, match=f"^interrupted after 0 of {EPISODES} episodes$"):
        runner.run(config, SILENT)
    assert files(config) == []


def test_ctrl_c_right_after_resuming_keeps_what_was_there(config: RunConfig, stopped_at):
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(Interrupted):
        runner.run(config, SILENT)
    (partial,) = files(config)
    before = partial.read_bytes()
    stopped_at(0, KeyboardInterrupt())
    with pytest.raises(Interrupted, match=f"^interrupted after {2 * CHUNK} of"):
        runner.run(config, SILENT)
    assert partial.read_bytes() == before


def test_an_error_leaves_no_partial_record(config: RunConfig, stopped_at):
    stopped_at(2 * CHUNK, RuntimeError("out of luck"))
    with pytest.raises(UserError, match=r"method protonet failed in episodes 128 to 191: RuntimeError: out of luck"):
        runner.run(config, SILENT)
    assert files(config) == []


def test_an_error_keeps_an_earlier_complete_record(config: RunConfig, stopped_at):
    first = runner.run(config, SILENT)
    before = first.path.read_bytes()
    stopped_at(2 * CHUNK, RuntimeError("out of luck"))
    with pytest.raises(UserError):
        runner.run(replace(config, overwrite=True), SILENT)
    assert files(config) == [first.path]
    assert first.path.read_bytes() == before


def test_ctrl_c_while_overwriting_keeps_the_earlier_complete_record(config: RunConfig, stopped_at):
    first = runner.run(config, SILENT)
    before = first.path.read_bytes()
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(Interrupted, match=r"^interrupted after 128 of \d+ episodes; the same command starts anew"):
        runner.run(replace(config, overwrite=True), SILENT)
    assert first.path.read_bytes() == before


def test_an_error_after_an_interruption_keeps_a_resumable_state(config: RunConfig, stopped_at):
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(Interrupted):
        runner.run(config, SILENT)
    stopped_at(CHUNK, RuntimeError("out of luck"))
    with pytest.raises(UserError):
        runner.run(config, SILENT)
    (partial,) = files(config)
    assert load_record(partial).n_episodes in (2 * CHUNK, 3 * CHUNK)


def test_a_limited_run_is_partial_and_goes_on_to_the_full_one(config: RunConfig, listener):
    full = content(runner.run(replace(config, results=config.results / "full"), SILENT).path)
    limited = runner.run(replace(config, limit=100), SILENT)
    assert (limited.record.status, limited.record.n_episodes) == ("partial", 100)
    assert limited.path.name.endswith(".partial.json") and limited.path.exists()
    assert runner.run(replace(config, limit=100), SILENT).reused
    assert runner.run(replace(config, limit=50), SILENT).reused
    more = runner.run(replace(config, limit=200), listener)
    assert (more.reused, more.record.n_episodes, more.path) == (False, 200, limited.path)
    outcome = runner.run(config, listener)
    assert outcome.record.complete and not limited.path.exists()
    assert content(outcome.path) == full
    # Chunks lie on a fixed grid, so that a method sees the same batches as in an undisturbed run.
    assert listener.said == [f"resuming after {whole} of {EPISODES} episodes" for whole in (64, 192)]


def test_varying_episodes_resume_too(config: RunConfig, stopped_at):
    varying = replace(config, sampler="meta-dataset")
    undisturbed = content(runner.run(replace(varying, results=config.results / "undisturbed"), SILENT).path)
    stopped_at(2 * CHUNK, KeyboardInterrupt())
    with pytest.raises(Interrupted):
        runner.run(varying, SILENT)
    stopped_at(None)
    assert content(runner.run(varying, SILENT).path) == undisturbed
