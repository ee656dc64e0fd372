from pathlib import Path

import pytest

from fewbench.benchmark.pipeline.reading import read_pipeline
from fewbench.benchmark.pipeline.stages import Pipeline
from fewbench.benchmark.training.meta.train_config import TrainConfig
from fewbench.benchmark.training.pretrain_config import PretrainConfig
from fewbench.core.errors import UsageError

WHOLE = """
dataset = "omniglot"
backbone = "resnet12"
seed = 7
[pretrain]
epochs = 3
[pretrain.set.backbone]
width = 8
[train]
steps = 5
seed = 8
[[run]]
shots = [1, 5]
[run.set]
learning_rate = 0.1
[[run]]
dataset = "trifeature"
method = "finetune"
tune = "full"
"""


def read(tmp_path: Path, text: str, weights: str | None = None) -> Pipeline:
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    return read_pipeline(tmp_path / "p.toml", "pmf", weights)


def test_a_stage_has_the_options_of_its_command_and_what_all_have_in_common(tmp_path: Path):
    pipeline = read(tmp_path, WHOLE)
    assert pipeline.pretrain == PretrainConfig("omniglot", "resnet12", epochs=3, seed=7, settings={"backbone.width": 8})
    assert pipeline.train == TrainConfig("pmf", "omniglot", "resnet12", steps=5, seed=8)
    one, five, other = (run.config for run in pipeline.runs)
    assert [(run.method, run.dataset, run.shots, run.tune, run.seed) for run in (one, five, other)] == [
        ("pmf", "omniglot", 1, None, 7),
        ("pmf", "omniglot", 5, None, 7),
        ("finetune", "trifeature", 1, "full", 7),
    ]
    assert one.settings == five.settings == {"learning_rate": 0.1} and other.settings == {}
    assert {(run.config.backbone, run.config.weights, run.after) for run in pipeline.runs} == {("resnet12", None, "train")}


@pytest.mark.parametrize("stage", ["[pretrain]", "[train]", "[[run]]"])
def test_any_stage_alone(tmp_path: Path, stage: str):
    pipeline = read(tmp_path, f'dataset = "omniglot"\n{stage}\n')
    assert [pipeline.pretrain is None, pipeline.train is None, not pipeline.runs].count(False) == 1


def test_the_first_stage_that_is_there_starts_from_the_weights(tmp_path: Path):
    common = 'dataset = "omniglot"\nweights = "w.safetensors"\n'
    whole = read(tmp_path, f"{common}[train]\n[[run]]\n")
    assert whole.train is not None and whole.train.weights == "w.safetensors" and whole.runs[0].config.weights is None
    assert read(tmp_path, f"{common}[[run]]\n").runs[0].config.weights == "w.safetensors"
    assert read(tmp_path, f"{common}[[run]]\n", "other").runs[0].config.weights == "other"


def test_a_run_without_a_training_takes_the_backbone_that_its_method_has_by_default(tmp_path: Path):
    assert read(tmp_path, 'dataset = "omniglot"\n[[run]]\n').runs[0].config.backbone is None
    assert read(tmp_path, 'dataset = "omniglot"\n[train]\n[[run]]\n').runs[0].config.backbone == "conv4"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seed = 7", "sede = 7", "unknown key 'sede'; did you mean 'seed'"),
        ("[train]", "[trian]", "unknown key 'trian'; did you mean 'train'"),
        ("epochs = 3", "epoch = 3", r"\[pretrain\]: unknown key 'epoch'; did you mean 'epochs'"),
        ("steps = 5", 'steps = "few"', r"\[train\]: steps = few: not a whole number"),
        ("steps = 5", "steps = 0", r"\[train\]: steps = 0: at least 1"),
        ("shots = [1, 5]", "shots = 0", r"\[\[run\]\]: shots = 0: at least 1"),
        ("shots = [1, 5]", "shot = 1", r"\[\[run\]\]: unknown key 'shot'; did you mean 'shots'"),
        ("shots = [1, 5]", 'weights = "w"', r"\[\[run\]\]: 'weights' has no place here; weights stands at the top"),
        ("shots = [1, 5]", 'checkpoint = "w"', r"\[\[run\]\]: 'checkpoint' has no place here; a run takes that of \[train\]"),
        (
            "shots = [1, 5]",
            'after = "tune"',
            r"\[\[run\]\]: after = 'tune': one of the stages that train here \(pretrain, train\)",
        ),
        (
            "shots = [1, 5]",
            'output = "mine"',
            r"\[\[run\]\]: 'output' has no place here; it is an option of the command, --results",
        ),
        ("steps = 5", 'device = "cpu"', r"\[train\]: 'device' has no place here; it is an option of the command"),
        ("steps = 5", 'backbone = "conv4"', r"\[train\]: backbone conv4 cannot take .* the stage before it, .* of resnet12"),
        ("shots = [1, 5]", 'backbone = "conv4"', r"\[\[run\]\]: backbone conv4 cannot take the weights"),
        ("seed = 7", 'weights = "w"', r"weights and \[pretrain\] both; one of them"),
        ('dataset = "omniglot"', "", r"\[pretrain\] lacks dataset"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_table(tmp_path: Path, old: str, new: str, says: str):
    with pytest.raises(UsageError, match=rf"^--config .*p\.toml: {says}") as caught:
        read(tmp_path, WHOLE.replace(old, new, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('dataset = "omniglot"', r"no stage; it needs \[pretrain\], \[train\] or \[\[run\]\]"),
        ("run = []", r"no stage; it needs \[pretrain\], \[train\] or \[\[run\]\]"),
        ('[[run]]\ndataset = "omniglot"\nshots = []', r"\[\[run\]\]: shots = \[\]: nothing to run"),
        ("[[run]]", r"\[\[run\]\] lacks dataset"),
        ('dataset = "omniglot"\n[run]\n', r"run is a list of tables, \[\[run\]\]"),
        ('dataset = "omniglot"\n[[train]]\n', r"\[train\] is a table of options"),
        ("dataset = ", " is not TOML"),
    ],
)
def test_a_file_without_sense_is_one_line(tmp_path: Path, text: str, says: str):
    with pytest.raises(UsageError, match=rf"p\.toml:? ?{says}"):
        read(tmp_path, text)
