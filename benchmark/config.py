"""The request of a user, before anything is looked up: `RunConfig`, its checks, TOML files and grids."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.option_tables import options_of, read_table
from ..core.options import Options, Settings, parameter
from ..core.ranges import LARGEST_SEED, LARGEST_SIZE
from ..tasks.conditions.conditions import Conditions, NoiseKind, Strategy
from ..tasks.corruptions import SEVERITIES, STRENGTHS, Corruption
from .scopes import with_option, with_scopes

RESULTS = Path("results")  # unless the user names another folder
RESULTS_HELP = "Folder of records/, checkpoints/ and figures/."
SHAPE = ("ways", "shots", "queries")  # of an episode: options of their own, not sampler parameters
FOLDER = "folder"  # the dataset of a user's own photos
SCOPES = ("dataset", "backbone", "sampler")  # `--set backbone.width=32`; a name without a scope is the method's


@dataclass(frozen=True)
class RunConfig(Options):
    """One evaluation: one method on one task with one backbone. Each field is an option of `bench run`, with its help."""

    method: str = parameter(
        "protonet",
        "Name, FILE.py:Class, sklearn:module.Class, or all-frozen: each that needs only features of a frozen backbone.",
        several=True,
    )
    ways: int = parameter(5, "Classes an episode.", minimum=2, maximum=LARGEST_SIZE, several=True)
    shots: int = parameter(1, "Support images a class.", minimum=1, several=True)
    queries: int = parameter(15, "Query images a class.", minimum=1, several=True)
    episodes: int = parameter(10_000, "Number of episodes.", minimum=1)
    dataset: str = parameter("trifeature", "Dataset (bench list datasets).", several=True)
    data: Path | None = parameter(
        None,
        "Your own photos: a folder with a folder a class, an archive of these, or a CSV file; short for the dataset folder.",
    )
    min_images: int | None = parameter(
        None, "Leave out classes of your own photos that have fewer; the same as --set dataset.min_images=.", minimum=1
    )
    split: str = parameter("test", "Class split: train, val or test.", several=True)
    sampler: str = parameter("uniform", "uniform, semantic, imbalanced or meta-dataset (varying ways and shots).", several=True)
    testbed: Path | None = parameter(
        None, "File with a fixed list of tasks (bench testbed make), instead of a sampler; says ways, shots and queries."
    )
    corruption: str | None = parameter(
        None, f"Corrupt support and query images: {', '.join(STRENGTHS)}; with a severity.", several=True
    )
    severity: int | None = parameter(
        None, "Severity of the corruption.", minimum=SEVERITIES[0], maximum=SEVERITIES[-1], several=True
    )
    query_balance: float | None = parameter(
        None,
        "Divide the queries among the classes by a Dirichlet distribution of this concentration (2 in papers; small: uneven).",
        minimum=1e-3,
        maximum=1e6,
        several=True,
    )
    label_noise: float | None = parameter(
        None, "Probability with which a support image has the label of another class.", minimum=0, maximum=1, several=True
    )
    noise_kind: NoiseKind = parameter(
        "symmetric", "Wrong labels are those of any other class (symmetric), or of the next one (pair).", several=True
    )
    unlabelled: int | None = parameter(
        None, "Images without labels, of each class, for methods that use them.", minimum=1, several=True
    )
    distractors: int | None = parameter(
        None, "Further classes whose images are among those without labels.", minimum=1, several=True
    )
    acquire: Strategy | None = parameter(
        None,
        "Give labels to some of the images without: random, margin, entropy, coreset or typiclust chooses them.",
        several=True,
    )
    budget: int | None = parameter(None, "Labels that --acquire gives in an episode.", minimum=1, several=True)
    backbone: str | None = parameter(
        None, "Backbone (bench list backbones); default: conv4, or clip-tiny where text is used.", several=True
    )
    weights: str | None = parameter(
        None, "Shipped weights or a file; default: those pretrained on the dataset's train classes.", several=True
    )
    checkpoint: str | None = parameter(
        None, "File of bench train: backbone and learned modules; --method may be left out.", several=True
    )
    tune: str | None = parameter(
        None,
        "What an adapting method moves: none, norm, head, last-block, lora, prompt, prompt-pool or full; default: head.",
        several=True,
    )
    features: str | None = parameter(
        None,
        "Transform features before the method, in this order: l2, center, center-task, power:B, zscore, pca:N; as l2,center.",
    )
    prompts: str | None = parameter(
        None,
        "Prompts for the class names, for methods that use text: single, ensemble or a file; default: single.",
        several=True,
    )
    class_names: Path | None = parameter(None, "CSV file with class_id,name instead of the dataset's names.")
    views: int | None = parameter(
        None, "Classify so many views of each image: itself, and random crops.", minimum=2, maximum=100, several=True
    )
    vote: Literal["features", "majority"] = parameter(
        "features", "Views of an image have their features averaged, or are classified each, and the majority counts."
    )
    batch_size: int | None = parameter(None, "Images encoded at once; auto finds a number that fits.", minimum=1, none="auto")
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = parameter("fp32", "Precision of encoding: fp32, tf32, bf16 or fp16.")
    compile: bool = parameter(False, "Encode through torch.compile.")
    runtime: Literal["auto", "torch", "openvino"] = parameter(
        "auto", "Library that encodes: torch or openvino (extra cpu); auto takes openvino for convolutional networks on a CPU."
    )
    seed: int = parameter(0, "Seed of the episodes.", minimum=0, maximum=LARGEST_SEED, several=True)
    settings: Settings = parameter(
        dict, "Parameter of the method, name=value; dataset.name=, backbone.name= or sampler.name= for theirs."
    )
    device: str = parameter("auto", "auto, cpu or cuda (or cuda:1, …).")
    results: Path = parameter(RESULTS, RESULTS_HELP, was="output")
    overwrite: bool = parameter(False, "Repeat a finished run.")
    limit: int | None = parameter(None, "Stop after so many episodes; the record is partial and off the board.", minimum=1)
    keep_predictions: bool = parameter(False, "Keep the answer to every query in a file beside the record, for bench report.")
    level: float = parameter(0.95, "Confidence level of the intervals.", above=0, below=1)
    bootstrap: bool = parameter(False, "Also give the percentile bootstrap interval.")
    output: InitVar[Path | None] = None  # the older name of `results`, for scripts

    def __post_init__(self, output: Path | None) -> None:
        """Check every field, and pairs of fields that belong together.

        Raises:
            UsageError: one line that names the option.
        """
        object.__setattr__(self, "results", Path(self.results if output is None else output))  # a script may give text
        super().__post_init__()
        self._take_data()
        if self.severity is not None and self.corruption is None:
            raise UsageError(f"--severity {self.severity}: of what? add --corruption {', '.join(STRENGTHS)}")
        if self.corruption is not None and self.severity is None:
            raise UsageError(f"--corruption {self.corruption}: how much? add --severity {', '.join(map(str, SEVERITIES))}")
        if self.vote != RunConfig.vote and self.views is None:
            raise UsageError(f"--vote {self.vote}: of how many views? add --views 8")
        if self.noise_kind != RunConfig.noise_kind and self.label_noise is None:
            raise UsageError(f"--noise-kind {self.noise_kind}: how many wrong labels? add --label-noise 0.2")
        if self.distractors is not None and self.unlabelled is None:
            raise UsageError(f"--distractors {self.distractors}: how many images of each? add --unlabelled 10")
        self._check_acquisition()
        _ = self.corrupted_by  # which checks the name

    def _check_acquisition(self) -> None:
        """Check that labels are given to images that there are.

        Raises:
            UsageError: an option is missing, or one that does not go with it is there.
        """
        if self.acquire is None:
            if self.budget is not None:
                raise UsageError(f"--budget {self.budget}: labels of which images? add --acquire random")
            return
        option = f"--acquire {self.acquire}"
        if self.unlabelled is None:
            raise UsageError(f"{option}: from how many images of each class? add --unlabelled 20")
        if self.budget is None:
            raise UsageError(f"{option}: how many labels? add --budget {self.ways}")
        if self.distractors is not None:
            raise UsageError(f"{option}: an image of a distractor has no label to give; leave --distractors out")
        if self.label_noise:
            raise UsageError(f"{option}: labels given on request are right; leave --label-noise out")

    def _take_data(self) -> None:
        """Turn `data` into the dataset folder and its parameter root, and `min_images` into a parameter.

        Raises:
            UsageError: another dataset, or another value of the parameter, is named as well.
        """
        if self.data is not None:
            if self.dataset not in (RunConfig.dataset, FOLDER):
                raise UsageError(f"--data {self.data} and --dataset {self.dataset}: take one of them")
            object.__setattr__(self, "dataset", FOLDER)
            self._set("root", str(self.data), "--data")
            object.__setattr__(self, "data", None)
        if self.min_images is not None:
            self._set("min_images", self.min_images, "--min-images")
            object.__setattr__(self, "min_images", None)

    def _set(self, name: str, value: object, option: str) -> None:
        """Set a parameter of the dataset by an option of its own.

        Raises:
            UsageError: it has another value.
        """
        settings = with_scopes(self.settings, self.dataset, self.method) if name in self.settings else self.settings
        object.__setattr__(self, "settings", with_option(settings, f"dataset.{name}", value, option))

    @property
    def corrupted_by(self) -> Corruption | None:
        """The corruption of the images; None for clean ones."""
        return None if self.corruption is None or self.severity is None else Corruption(self.corruption, self.severity)

    @property
    def conditions(self) -> Conditions | None:
        """In what the task departs from balanced queries and right labels; None where it does not."""
        balance = None if self.query_balance is None else float(self.query_balance)  # a record has 2.0 where 2 was given
        noise = float(self.label_noise) if self.label_noise else None
        kind = self.noise_kind if noise else None
        found = Conditions(balance, noise, kind, self.unlabelled, self.distractors, self.acquire, self.budget)
        return found if found.any else None

    def settings_of(self, scope: str) -> Settings:
        """The parameters meant for the dataset, backbone or sampler; for scope "method" those without a scope.

        Raises:
            UserError: a name without a scope has to be looked up, and dataset or method cannot be.
        """
        chosen = {}
        for key, value in with_scopes(self.settings, self.dataset, self.method).items():
            head, dot, tail = key.partition(".")
            if dot and head in SCOPES:
                if head == scope:
                    chosen[tail] = value
            elif scope == "method":
                chosen[key] = value
        return chosen


def results_option(results: Path) -> str:
    """The option that names a results folder, with a space before it; "" for the default folder."""
    return "" if results == RESULTS else f" --results {shlex.quote(str(results))}"


def grid(options: Mapping[str, Any]) -> list[RunConfig]:
    """One config for each combination of the options that hold a list; the last such option varies fastest.

    Raises:
        UsageError: such a list is empty, or a combination is not possible.
    """
    several = {name: value for name, value in options.items() if isinstance(value, list | tuple)}
    fixed = {name: value for name, value in options.items() if name not in several}
    if empty := [name for name, values in several.items() if not values]:
        raise UsageError(f"{empty[0]} = []: nothing to run")
    return [
        RunConfig(**fixed, **dict(zip(several, values, strict=True)))
        for values in itertools.product(*(dict.fromkeys(value) for value in several.values()))
    ]


def read_toml(path: Path) -> Settings:
    """Options from a TOML file: keys as the options of `bench run`, parameters in a table `[set]`.

    Raises:
        UsageError: no such file, not TOML, an unknown key, or a value of the wrong type.
    """
    where = f"--config {path}"
    return options_of(read_table(path, where), RunConfig, where)
