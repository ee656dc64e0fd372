from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark import RunConfig, run
from fewbench.benchmark.evaluation.sampling import sampling_of, with_sampling
from fewbench.benchmark.evaluation.split_classes import class_distances, classes_of
from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.distances import coarsity, write_matrix
from fewbench.tasks.testbed import make_testbed
from fewbench.tasks.testbed_files import write_testbed


@pytest.fixture
def distances(tiny: str, tmp_path: Path) -> Path:
    """A CSV matrix for the classes of `tiny`: two groups of six, near within and far across."""
    chosen = classes_of(tiny, [], "test", with_images=False)
    group = np.arange(12) // 6
    matrix = np.where(group[:, None] == group, 1.0, 4.0)
    np.fill_diagonal(matrix, 0)
    write_matrix(tmp_path / "distances.csv", chosen.class_ids, matrix)
    return tmp_path / "distances.csv"


@pytest.fixture
def base(tiny: str, tiny_weights: Path, tmp_path: Path) -> RunConfig:
    return RunConfig(dataset=tiny, weights=str(tiny_weights), queries=5, episodes=64, results=tmp_path / "results")


def test_each_sampler_has_its_parameters_and_their_defaults():
    assert sampling_of(RunConfig()).parameters == {}
    assert sampling_of(RunConfig(sampler="imbalanced")).parameters == {"concentration": 2.0}
    semantic = sampling_of(RunConfig(sampler="semantic", settings={"sampler.alpha": "0.5"}))
    assert semantic.parameters == {"alpha": 0.5, "beta": 100.0, "distances": None}
    varying = sampling_of(RunConfig(sampler="meta-dataset", settings={"sampler.max_ways": "20"}))
    assert varying.parameters["max_ways"] == 20
    assert set(varying.shape.values()) == {None}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sampler": "semantc"}, "did you mean 'semantic'"),
        ({"settings": {"sampler.alpha": "1"}}, "sampler uniform has no parameter 'alpha'"),
        ({"sampler": "semantic", "settings": {"sampler.alpha": "much"}}, "alpha=much: not a number"),
        ({"sampler": "imbalanced", "settings": {"sampler.seed": "1"}}, "has no parameter 'seed'"),
    ],
)
def test_a_wrong_sampler_or_parameter_is_one_line(options: dict, named: str):
    with pytest.raises(UsageError, match=named):
        sampling_of(RunConfig(**options))


def test_a_semantic_run_prefers_near_classes_and_records_how_near(base: RunConfig, distances: Path):
    settings = {"sampler.distances": str(distances)}
    near = run(replace(base, sampler="semantic", settings={**settings, "sampler.alpha": 0.5}))
    uniform = run(replace(base, sampler="semantic", settings={**settings, "sampler.alpha": 0.0}))
    assert near.coarsities is not None and uniform.coarsities is not None
    assert near.coarsities.mean() < uniform.coarsities.mean() - 0.5
    assert near.task.coarsity.mean == pytest.approx(near.coarsities.mean())
    assert near.task.sampler_parameters["alpha"] == 0.5
    assert near.accuracy.without_replacement is None


def test_a_testbed_file_gives_the_run_its_tasks(base: RunConfig, tiny: str, tmp_path: Path):
    chosen = classes_of(tiny, [], "test", with_images=True)
    matrix = 1.0 - np.eye(12)
    shape = {"ways": 3, "shots": 2, "queries": 4, "tasks": 40, "alpha": 0.1, "beta": 10.0, "seed": 5}
    testbed = make_testbed(chosen.offsets, matrix, dataset="tiny", split="test", fingerprint=chosen.fingerprint, **shape)
    write_testbed(tmp_path / "tasks.csv", testbed)
    config = replace(base, testbed=tmp_path / "tasks.csv")
    record = run(config)
    assert (record.task.ways, record.task.shots, record.task.queries) == (3, 2, 4)
    assert record.n_episodes == 40  # 64 were asked for
    assert record.task.sampler == "testbed"
    assert record.task.episodes_sha256 == testbed.sha256
    assert with_sampling(config, sampling_of(config)).episodes == 40


def test_an_imbalanced_run_has_the_queries_of_the_uniform_one(base: RunConfig):
    record = run(replace(base, sampler="imbalanced", shots=5, settings={"sampler.concentration": 0.5}))
    assert record.n_episodes == 64
    assert record.task.sampler_parameters == {"concentration": 0.5}


def test_classes_without_images_count_the_published_number():
    chosen = classes_of("tiered-imagenet", [], "test", with_images=False)
    assert len(chosen.class_ids) == 160 and set(chosen.counts) == {1300}
    assert chosen.offsets is None
    matrix = class_distances(chosen.dataset, "test", chosen.class_ids, chosen.counts, None)
    every_pair = coarsity(matrix, np.array([[a, b] for a in range(160) for b in range(a)]))
    assert every_pair.mean() == pytest.approx(83.2, abs=0.1)  # METHODS: about 83 for uniform tasks


def test_a_dataset_without_taxonomy_says_what_to_bring(base: RunConfig):
    with pytest.raises(UserError, match="has no class taxonomy"):
        run(replace(base, sampler="semantic"))


PLUGIN = '''
from dataclasses import dataclass
from typing import ClassVar

from fewbench.tasks.samplers import UniformSampler


@dataclass(frozen=True)
class FirstClasses(UniformSampler):
    """The first classes of the split, always."""

    name: ClassVar[str] = "first"
    first: int = 6

    @property
    def parameters(self):
        return {"first": self.first}

    def draw_chunk(self, start, stop):
        return UniformSampler(self.offsets[: self.first + 1], self.seed, self.ways, self.shots, self.queries).draw(start, stop)

    def disjoint_episodes(self):
        return None
'''


def test_a_sampler_of_a_file_draws_the_episodes_and_its_parameters_are_recorded(base: RunConfig, tmp_path: Path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    config = replace(base, sampler=f"{tmp_path / 'mine.py'}:FirstClasses", settings={"sampler.first": "5"})
    sampling = sampling_of(config)
    assert (sampling.name, sampling.parameters) == ("mine.py:FirstClasses", {"first": 5})
    assert sampling.shape == {"ways": 5, "shots": 1, "queries": 5}
    record = run(config)
    assert record.task.sampler == "mine.py:FirstClasses" and record.task.sampler_parameters == {"first": 5}
    assert record.task.episodes_sha256 != run(replace(base, sampler="uniform")).task.episodes_sha256


@pytest.mark.parametrize(("option", "value"), [("query_balance", 2.0), ("unlabelled", 3)])
def test_further_images_need_a_fixed_number_of_queries(option: str, value: float):
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')}: the sampler meta-dataset decides how many images"):
        sampling_of(RunConfig(sampler="meta-dataset", **{option: value}))  # type: ignore[arg-type]
    assert sampling_of(RunConfig(**{option: value})).conditions.any  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"budget": 5}, "--budget 5: labels of which images"),
        ({"acquire": "margin", "budget": 5}, "--acquire margin: from how many images of each class"),
        ({"acquire": "margin", "unlabelled": 4}, "--acquire margin: how many labels. add --budget 5"),
        ({"acquire": "random", "unlabelled": 4, "budget": 5, "distractors": 1}, "leave --distractors out"),
        ({"acquire": "random", "unlabelled": 4, "budget": 5, "label_noise": 0.1}, "leave --label-noise out"),
        ({"acquire": "random", "unlabelled": 4, "budget": 21}, "--budget 21: an episode has 20 images without a label"),
        ({"acquire": "often", "unlabelled": 4, "budget": 5}, "--acquire often: not"),
    ],
)
def test_labels_are_given_to_images_that_there_are(options: dict, named: str):
    with pytest.raises(UsageError, match=named):
        sampling_of(RunConfig(**options))
