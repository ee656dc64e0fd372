from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark import RunConfig, run
from fewbench.benchmark.evaluation.rerun import Where, rerun
from fewbench.benchmark.records.record import RunRecord, accuracy_section
from fewbench.core.errors import UserError
from fewbench.core.progress import SILENT


@pytest.fixture
def where(config: RunConfig, tmp_path: Path) -> Where:
    return Where({"weights": str(config.weights), "dataset": config.dataset}, tmp_path / "checkpoints")


def with_accuracies(altered, record: RunRecord, accuracies: np.ndarray) -> RunRecord:
    return altered(record, accuracy=accuracy_section(accuracies, without_replacement=None))


def test_a_record_comes_out_again_bit_for_bit(config: RunConfig, where: Where):
    record = run(replace(config, method="ridge", settings={"regularization": 2.0}))
    found = rerun(record, where, SILENT)
    assert (found.verdict, found.differing, found.episodes, found.surroundings) == ("same", 0, 340, [])
    assert [path.name for path in config.results.rglob("*.json")] == [f"ridge-conv4-{record.config_sha256[:8]}.json"]


def test_weights_are_found_by_their_name(config: RunConfig, where: Where):
    record = run(config)
    where.checkpoints.mkdir()
    (where.checkpoints / "tiny.safetensors").write_bytes(Path(str(config.weights)).read_bytes())
    options = {"dataset": config.dataset}
    assert rerun(record, where._replace(options=options), SILENT, episodes=64).verdict == "same"


def test_the_first_episodes_alone_are_compared_with_the_first_ones(config: RunConfig, where: Where):
    found = rerun(run(config), where, SILENT, episodes=100)
    assert (found.verdict, found.episodes) == ("same", 100)


def test_other_accuracies_are_different_and_few_small_ones_are_rounding(config: RunConfig, where: Where, altered):
    record = run(config)
    once = record.accuracies.copy()
    once[7] += -0.04 if once[7] > 0.5 else 0.04
    rounded = rerun(with_accuracies(altered, record, once), where, SILENT)
    assert (rounded.verdict, rounded.differing) == ("rounding", 1)
    assert abs(rounded.shift) == pytest.approx(0.04 / 340)
    moved = rerun(with_accuracies(altered, record, record.accuracies * 0.9), where, SILENT)
    assert moved.verdict == "different"
    assert moved.shift == pytest.approx(0.1 * record.mean)


def test_what_of_the_surroundings_differs_is_said(config: RunConfig, where: Where, altered):
    record = run(config)
    older = altered(record, environment={"packages": {**record.environment.packages, "torch": "1.0"}, "python": "2.7"})
    found = rerun(older, where, SILENT, episodes=64)
    now = record.environment
    assert found.surroundings == [f"python 2.7, now {now.python}", f"torch 1.0, now {now.packages['torch']}"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "partial"}, "a partial record, of 340 episodes"),
        ({"backbone": {"weights_sha256": "0" * 64}}, "weights tiny are not those of the record"),
        ({"task": {"fingerprint": "0" * 64}}, "its task is not there any more: fingerprint"),
        ({"task": {"episodes_sha256": "0" * 64}}, "its episodes are no longer those of its task"),
        ({"task": {"beside": {"train": "0" * 64}}}, "its images of the split train, which its method uses, are not there"),
    ],
)
def test_what_cannot_be_repeated_is_one_line(config: RunConfig, where: Where, altered, changes: dict, message: str):
    with pytest.raises(UserError, match=message):
        rerun(altered(run(config), **changes), where, SILENT)
