from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fewbench.benchmark import RunConfig
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.config import grid, read_toml
from fewbench.core.errors import UsageError


def toml(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_main_job():
    config = RunConfig()
    assert (config.method, config.ways, config.shots, config.queries, config.episodes) == ("protonet", 5, 1, 15, 10_000)
    assert (config.dataset, config.backbone, config.split, config.sampler) == ("trifeature", None, "test", "uniform")
    assert (config.seed, config.level, config.results) == (0, 0.95, Path("results"))


def test_a_config_is_frozen():
    with pytest.raises(FrozenInstanceError):
        RunConfig().shots = 5  # type: ignore[misc]


def test_the_results_folder_may_be_text_and_has_an_older_name():
    assert RunConfig(results="elsewhere").results == RunConfig(output="elsewhere").results == Path("elsewhere")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"episodes": 0}, "--episodes 0: at least 1"),
        ({"episodes": 10**12}, "--episodes 1000000000000: at most 1,000,000,000"),
        ({"episodes": True}, "--episodes True: not a whole number"),
        ({"shots": 10**5000}, "--shots a number of thousands of digits: at most"),
        ({"limit": 0}, "--limit 0: at least 1"),
        ({"limit": -3}, "--limit -3: at least 1"),
        ({"seed": -1}, r"--seed -1: from 0 to 2\^64 - 1"),
        ({"seed": 2**64}, "--seed 18446744073709551616: from 0"),
        ({"level": 0}, "--level 0: above 0 and below 1"),
        ({"level": 1.0}, "--level 1: above 0 and below 1"),
        ({"level": float("nan")}, "--level nan: not a finite number"),
        ({"corruption": "fog", "severity": 1}, "--corruption fog: unknown; known: blur, contrast, grey"),
        ({"corruption": "blur", "severity": 9}, "--severity 9: from 1 to 5"),
        ({"corruption": "blur"}, "--corruption blur: how much"),
        ({"severity": 2}, "--severity 2: of what"),
        ({"noise_kind": "pair"}, "--noise-kind pair: how many wrong labels"),
    ],
)
def test_impossible_values_are_refused_in_one_line(values: dict, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        RunConfig(**values)
    assert "\n" not in str(caught.value)


def test_corruptions_and_severities_make_a_grid():
    configs = grid({"corruption": ["noise", "blur"], "severity": [1, 5]})
    assert [str(config.corrupted_by) for config in configs] == ["noise 1", "noise 5", "blur 1", "blur 5"]
    assert RunConfig().corrupted_by is None


def test_settings_go_to_whom_their_scope_names():
    config = RunConfig(settings={"power": 2, "dataset.rotations": "no", "sampler.max_ways": 9, "backbone.width": 4, "a.b": 1})
    assert config.settings_of("method") == {"power": 2, "a.b": 1}
    assert config.settings_of("dataset") == {"rotations": "no"}
    assert config.settings_of("sampler") == {"max_ways": 9}
    assert config.settings_of("backbone") == {"width": 4}


def test_a_grid_is_every_combination_with_the_last_list_fastest():
    configs = grid({"method": ["a", "b"], "ways": 5, "shots": [1, 5], "seed": 3})
    assert [(c.method, c.shots) for c in configs] == [("a", 1), ("a", 5), ("b", 1), ("b", 5)]
    assert {(c.ways, c.seed) for c in configs} == {(5, 3)}
    assert grid({}) == [RunConfig()]


def test_a_value_named_twice_runs_once():
    assert [config.shots for config in grid({"shots": [5, 1, 5]})] == [5, 1]


def test_a_toml_file_has_the_options_of_the_command(tmp_path: Path):
    text = """
        method = ["protonet", "ridge"]
        shots = 5
        limit = 100
        output = "elsewhere"
        [set]
        shrinkage = 0.5
        [set.dataset]
        rotations = false
        [set.sampler]
        max-ways = 9
    """
    assert read_toml(toml(tmp_path, text)) == {
        "method": ["protonet", "ridge"],
        "shots": 5,
        "limit": 100,
        "results": Path("elsewhere"),
        "settings": {"shrinkage": 0.5, "dataset.rotations": False, "sampler.max-ways": 9},
    }
    assert read_toml(toml(tmp_path, "")) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shot = 5", "unknown key 'shot'; did you mean 'shots'"),
        ("settings = 5", "unknown key 'settings'"),
        ("dry-run = true", "unknown key 'dry-run'"),
        ("shots = ", "is not TOML"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_wrong_toml_file_is_one_line_that_names_it(tmp_path: Path, text: str, message: str):
    with pytest.raises(UsageError, match=rf"--config .*run\.toml.*{message}") as caught:
        read_toml(toml(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_toml_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"--config .*nothing: No such file"):
        read_toml(tmp_path / "nothing")
    (tmp_path / "latin").write_bytes("method = 'größe'".encode("latin-1"))
    with pytest.raises(UsageError, match=r"--config .*latin is not TOML"):
        read_toml(tmp_path / "latin")


@pytest.mark.parametrize(
    "text",
    [
        'episodes = "many"',
        "episodes = 10.5",
        "seed = 1.5",
        "queries = true",
        'level = "high"',
        'overwrite = "no"',
        "dataset = 5",
        "method = [1, 2]",
        'seed = [0, "one"]',
        "set = 3",
        'output = ["a"]',
    ],
)
def test_a_value_of_the_wrong_type_in_a_toml_file_is_named(tmp_path: Path, text: str):
    with pytest.raises(UsageError, match=text.split()[0]):
        read_toml(toml(tmp_path, text))


def test_photos_are_the_dataset_folder():
    config = RunConfig(data=Path("photos"))
    assert (config.dataset, config.settings, config.data) == ("folder", {"dataset.root": "photos"}, None)
    with pytest.raises(UsageError, match="--data photos and --dataset omniglot: take one of them"):
        RunConfig(data=Path("photos"), dataset="omniglot")


@pytest.mark.parametrize("settings", [{"root": "others"}, {"dataset.root": "others"}])
def test_a_root_beside_photos_is_never_dropped(settings):
    with pytest.raises(UsageError, match=r"--data photos and --set dataset\.root=others: take one of them"):
        RunConfig(data=Path("photos"), settings=settings)
    with pytest.raises(UsageError, match=r"--min-images 5 and --set dataset\.min_images=6: take one of them"):
        RunConfig(data=Path("photos"), min_images=5, settings={"dataset.min_images": 6})
    said = {"dataset.root": "photos", "min_images": "5"}  # the same twice, as typed
    same = RunConfig(data=Path("photos"), min_images=5, settings=said)
    assert same.settings == {"dataset.root": "photos", "dataset.min_images": 5}


def test_a_dataset_beside_photos_is_never_dropped():
    """Also not the default one, where it is typed."""
    done = CliRunner().invoke(app, ["run", "--data", "photos", "--dataset", "trifeature"])
    assert isinstance(done.exception, UsageError) and "take one of them" in str(done.exception)


def test_a_parameter_without_a_scope_is_the_methods_or_else_the_datasets():
    for settings in ({"root": "photos", "scale": 2}, {"dataset.root": "photos", "scale": 2}):
        config = RunConfig(method="protonet", dataset="folder", settings=settings)
        assert config.settings_of("dataset") == {"root": "photos"} and config.settings_of("method") == {"scale": 2}
    nobody = RunConfig(method="protonet", dataset="folder", settings={"rot": "photos"})
    assert nobody.settings_of("dataset") == {} and nobody.settings_of("method") == {"rot": "photos"}
    anything = RunConfig(method="sklearn:linear_model.LogisticRegression", dataset="folder", settings={"root": 1})
    assert anything.settings_of("method") == {"root": 1}


def test_the_least_number_of_images_is_the_datasets():
    assert RunConfig(min_images=5, data=Path("photos")).settings == {"dataset.min_images": 5, "dataset.root": "photos"}
