"""Meta-training: a backbone, and what a method learns beside it, from episodes of the train classes.

Episodes of the val classes, always the same, say which state to keep. Test classes are never opened.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Generator, nn

from ....core.errors import UsageError
from ....core.files import write_atomically
from ....core.progress import Progress
from ....methods.base import Method
from ....methods.maml import MAML
from ....methods.meta_sgd import RatedHead
from ....methods.parts.maml_tasks import Head
from ....tasks.datasets.base import Split
from ...backbones.base import Backbone, Preprocess, feature_width
from ...backbones.weights.find import find_weights
from ...backbones.weights.loading import load_backbone, make_backbone
from ...device import choose_device
from ...evaluation.sampling import Sampling
from ..augmentation import Augmentation
from ..loop.deciding import decide, loop_options
from ..loop.distributed import local_device, part_here
from ..loop.learner import Learner
from ..loop.loop import Fitted
from ..networks import network_for
from ..options import LoopOptions
from ..plan import TrainingPlan, carry_out
from ..train_images import StoredImages
from .meta_learner import EpisodeSource, MetaLearner
from .train_config import TrainConfig
from .validation import Validation

PARALLEL = "parallel.txt"  # in the folder of the checkpoints: how a MAML takes its tasks


@dataclass(frozen=True)
class MetaTraining(TrainingPlan):
    """A meta-training with its names resolved and its networks built.

    Attributes:
        method: with its loss.
        method_section: as a record has it.
        sampling: of the training episodes.
        start: what the network's weights have seen before; None where they are initial ones.
    """

    verb: ClassVar[str] = "train"
    config: TrainConfig
    method: Method
    method_section: dict[str, Any]
    sampling: Sampling
    start: dict[str, Any] | None

    @property
    def rule(self) -> Method:
        """The method."""
        return self.method

    @property
    def files_sha256(self) -> dict[str, str]:
        """Of the weights file that the backbone starts from."""
        return {} if self.start is None else {"start_sha256": self.start["weights_sha256"]}

    def learner(self, folder: Path) -> MetaLearner:
        """Networks and method with the episodes that they learn from."""
        config, sampler = self.config, self.sampling.over(self.dataset, self.train)
        assert config.meta_batch is not None
        images = StoredImages(self.train, self.device)
        augmentation = Augmentation(config.crop, config.flip, config.smallest_area, config.jitter)
        source = EpisodeSource(sampler, images, self.preprocess, config.meta_batch, augmentation, config.seed)
        inputs = self.method.inputs_with("none")
        learner = MetaLearner(self.method, inputs, self.module, self.learned, source).to(self.device)
        learner.method = _settled(self.method, learner, folder)
        return learner

    def options(self, time_limit: float | None) -> LoopOptions:
        """Those of the configuration."""
        return loop_options(self.config, time_limit)

    def kept(self, learner: Learner) -> nn.Module:
        """The backbone, and what the method learned."""
        return learner

    def own_sections(self, fitted: Fitted) -> dict[str, dict[str, Any]]:
        """The method, its episodes, and what it started from."""
        section = self.method_section
        return {
            "method": {
                "name": section["name"],
                "parameters": section["parameters"],
                "ways": self.sampling.shape["ways"],
                "shots": self.sampling.shape["shots"],
            },
            "pretraining": {
                "recipe": _recipe(self),
                "episodes": fitted.steps_done * (self.config.meta_batch or 1),
                "steps": fitted.steps_done,
                "started_from": self.start,
                "external": bool(self.start and self.start["external"]),
            },
        }


def meta_train(
    config: TrainConfig,
    output: Path,
    progress: Progress,
    time_limit: float | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> Path:
    """Meta-train a method and write its best state; `plan.carry_out` says what the other arguments mean and what is raised."""
    return carry_out(partial(plan_of, config), output, progress, time_limit, overwrite, force)


def _settled(method: Method, learner: MetaLearner, folder: Path) -> Method:
    """The method, told whether to take tasks at once or one by one where it would find out by timing (`parallel=auto`).

    What was chosen is kept with the checkpoints: a training that goes on must round as it did before.
    """
    if not isinstance(method, MAML) or method.parallel != "auto":
        return method
    kept = folder / PARALLEL
    if part_here().world > 1:
        return replace(method, parallel="loop")  # processes that chose for themselves might choose differently
    if not kept.is_file():
        episodes = replace(learner.batch(0, part_here()), backbone=learner.backbone.train(), learned=learner.learned)
        write_atomically(kept, method.faster(episodes).encode())
    return replace(method, parallel="vmap" if kept.read_text(encoding="utf-8") == "vmap" else "loop")


def plan_of(config: TrainConfig, progress: Progress) -> MetaTraining:
    """Look every name up, build the networks, and decide what was left open.

    Raises:
        UsageError: as of `decide`, or a split too small for the episodes.
    """
    device = local_device(choose_device(config.device))
    config, method, section, dataset, sampling = decide(config, device)
    train = dataset.split("train", progress)
    validation = Validation.of(
        method, dataset.split("val", progress), config.val_ways, config.shots or 1, config.val_queries, config.val_episodes
    )
    generator = Generator().manual_seed(config.seed)
    backbone, parameters, module, preprocess, start = _network(config, train, generator, progress)
    if config.jitter and preprocess.channels == 1:
        raise UsageError(f"--jitter {config.jitter:g}: the images are grey")
    width = feature_width(module.eval(), preprocess)
    learned = method.learned_part(module, width, sampling.shape["ways"] or 0, generator)
    _check_outputs(config, learned, sampling.shape["ways"])
    settings = {
        **{f"dataset.{name}": value for name, value in asdict(dataset).items()},
        **{f"backbone.{name}": value for name, value in parameters.items()},
        **{f"sampler.{name}": value for name, value in sampling.parameters.items()},
        **section["parameters"],
    }
    config = replace(config, size=preprocess.size, settings=settings)
    module = module.requires_grad_(True).to(device)
    return MetaTraining(
        config, dataset, train, validation, backbone, module, learned, preprocess, device, method, section, sampling, start
    )


def _check_outputs(config: TrainConfig, learned: nn.Module | None, ways: int | None) -> None:
    """Refuse episodes that a classifier with an output for each class of a training episode could not answer."""
    if not isinstance(learned, Head | RatedHead):
        return
    if ways is None:
        raise UsageError(f"--sampler {config.sampler}: {config.method} meta-trains a classifier, of a fixed number of classes")
    if config.val_ways > ways:
        raise UsageError(
            f"--val-ways {config.val_ways}: {config.method} meta-trains a classifier of {ways} classes; take --val-ways {ways}"
        )


def _network(
    config: TrainConfig, train: Split, generator: Generator, progress: Progress
) -> tuple[Backbone, dict[str, Any], nn.Module, Preprocess, dict[str, Any] | None]:
    """The backbone, its parameters with what was set of its images, network, preprocessing, and what its weights have seen.

    The last is None for initial weights.
    """
    if config.weights is None:
        backbone = make_backbone(config.backbone, config.settings_of("backbone"))
        return backbone, backbone.parameters, *network_for(config.size, backbone, train, generator), None
    weights = find_weights(config.backbone, config.weights, config.dataset)
    loaded = load_backbone(config.backbone, config.settings_of("backbone"), weights, progress)
    if config.size not in (None, loaded.preprocess.size):
        raise UsageError(f"--size {config.size}: the weights {loaded.weights} take images of {loaded.preprocess.size} pixels")
    start = {"weights_sha256": loaded.weights_sha256, **loaded.pretraining}
    return loaded.recipe, loaded.parameters, loaded.module, loaded.preprocess, start


def _recipe(plan: MetaTraining) -> str:
    """How the weights came to be, in a few words: what they started from, then the episodes that they were trained on."""
    shape = plan.sampling.shape
    episodes = "varying" if shape["ways"] is None else f"{shape['ways']}-way {shape['shots']}-shot"
    before = f"{plan.start['recipe']} on {plan.start['dataset']}, then " if plan.start else ""
    return f"{before}{plan.method_section['name']} {episodes}"
