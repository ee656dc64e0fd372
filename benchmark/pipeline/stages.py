"""Pipeline files: stages, each with the options of its command, and what they have in common.

dataset = "cifar-fs"            # of every stage that names none itself; so are backbone and seed
backbone = "conv4"
seed = 0
weights = "FILE"                # the first stage starts from it, in place of [pretrain];
after = "protonet-omniglot"     # or from the weights that a reproduction ends with

[pretrain]                      # P: options of bench pretrain
epochs = 30
[pretrain.set]                  # its --set
"backbone.width" = 64

[train]                         # M: options of bench train; starts from P, or from the weights
steps = 10000

[[run]]                         # F and evaluation: options of bench run, as many tables as wanted; a list makes a grid
after = "train"                 # pretrain: takes what P made, although there is M; default: the last of them
shots = [1, 5]
published = 98.8                # percent, where the file is a reproduction; so is interval, the half-width of its interval
interval = 0.4
[run.set]
steps = 50

[published]                     # makes a reproduction of the file: its weights have the name of the file
summary = "ProtoNet with Conv-4 on Omniglot"
source = "Snell et al. 2017, arXiv:1703.05175, table 1"
budget = "about 40 minutes on two CPU cores"
differs = "6,000 training episodes"       # from the paper; may be left out

Any stage may be left out, except that a reproduction has [train] and runs of the method that it trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import RunConfig
from ..training.meta.train_config import TrainConfig
from ..training.pretrain_config import PretrainConfig

Config = PretrainConfig | TrainConfig
VARYING = "meta-dataset"  # the sampler whose episodes have ways and shots of their own


@dataclass(frozen=True)
class Target:
    """The accuracy that a run should reach, as its paper reports it; a row of results/published.csv has it with its source.

    Attributes:
        published: percent; None where there is none to compare with.
        interval: half-width of its 95 % interval in percentage points; None where it was not published.
    """

    published: float | None = None
    interval: float | None = None


@dataclass(frozen=True)
class PipelineRun:
    """A run, whose weights are open where P or M makes them.

    Attributes:
        config: of the run.
        after: pretrain or train, the stage whose weights it takes; None: those at the top of the file, or its default.
        target: what its paper reports.
    """

    config: RunConfig
    after: str | None
    target: Target = Target()

    @property
    def varies(self) -> bool:
        """Whether ways and shots vary from episode to episode."""
        return self.config.sampler == VARYING


@dataclass(frozen=True)
class Published:
    """The experiment that a reproduction repeats.

    Attributes:
        summary: method, backbone and data in a few words.
        source: of the published numbers.
        budget: the time and the machine that it takes, in words.
        differs: from the paper, in words; "" where nothing does.
    """

    summary: str
    source: str
    budget: str
    differs: str = ""


@dataclass(frozen=True)
class Pipeline:
    """Stages, none of them looked up yet.

    Attributes:
        name: of the file, without its suffix.
        pretrain: P; None: left out.
        train: M, whose weights are open where P makes them; None: left out.
        runs: F and evaluations; may be none.
        weights: what the first stage starts from; None: from nothing, or what `after` makes.
        after: the reproduction from whose weights the first stage starts; None: from no other's.
        published: the experiment that it repeats; None: it is no reproduction.
    """

    name: str
    pretrain: PretrainConfig | None
    train: TrainConfig | None
    runs: tuple[PipelineRun, ...]
    weights: str | None = None
    after: str | None = None
    published: Published | None = None

    def learned_by(self, run: PipelineRun) -> bool:
        """Whether a run's method was meta-trained before it, so that it takes what the method learned beside the backbone."""
        return run.after == "train" and self.train is not None and self.train.method == run.config.method


def what(config: Config | RunConfig) -> str:
    """The work of a stage in words, such as `protonet on omniglot`; of a plug-in's file without its folder."""
    of = config.recipe if isinstance(config, PretrainConfig) else config.method
    shape = f", {config.ways}-way {config.shots}-shot" if isinstance(config, RunConfig) and config.sampler == "uniform" else ""
    return f"{Path(of).name} on {Path(config.dataset).name}{shape}"
