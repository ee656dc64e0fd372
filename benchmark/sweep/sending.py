"""Sends a run to the cluster: what many runs share travels once."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from ...core.files import os_errors_named
from ...core.progress import Progress
from ...tasks.datasets.split import Split
from ..evaluation.checks import CHOICES
from ..evaluation.plan import Plan
from ..evaluation.runner import Run
from ..features.table import kept_features
from ..records.identity import canonical_json
from .cluster import Cluster, Reference, Sent
from .parcels import Stored, UserFile, entry_of
from .sharded import RUN, Draws, Features, Sharded
from .worker import Job, Plugin


class Sender:
    """Opens runs and sends them.

    Attributes:
        draws: digests of the episodes, by what decides them.
        features: of splits, by the network and the images.
        networks: references of those that were sent, by what decides them.
        files: of the user, that runs read while they evaluate, by the place of their copies.
    """

    def __init__(self, cluster: Cluster, home: str, progress: Progress) -> None:
        """Take a cluster, a file in this machine's cache by its path there, and a listener."""
        self.cluster, self.home, self.progress = cluster, home, progress
        self.device = torch.device("cuda" if cluster.gpu else "cpu")
        self.draws: dict[tuple[bytes, int], Draws] = {}
        self.features: dict[str, Features] = {}
        self.networks: dict[str, Reference] = {}
        self.files: dict[str, Path] = {}

    def opened(self, run: Run, number: int) -> Sharded:
        """A run with its splits open, and with the features and digests that it shares with others."""
        plan = run.plan
        run.begin()
        clean = {plan.config.split: plan.open_split(plan.config.split, self.progress)}
        roles = {RUN: run.split} if plan.inputs == "features" else {}
        if plan.uses_train:
            clean["train"] = roles["train"] = plan.open_split("train", self.progress)
        if plan.method.undecided_with(plan.backbone.tune):
            clean[CHOICES] = plan.open_split(CHOICES, self.progress)
            if plan.inputs == "features":
                roles[CHOICES] = clean[CHOICES]
        features = {role: self._features(run, split) for role, split in roles.items()}
        opened = {name: replace(split, images=Stored.of(split.images)) for name, split in clean.items()}
        run.plan = replace(plan, opened=opened)
        draws = Draws.of(pickle.dumps(run.sampler), run.wanted)
        draws = self.draws.setdefault((draws.sampler, run.wanted), draws)
        return Sharded(run, number, features, draws, self.cluster.slots, _plugins_of(plan))

    def _features(self, run: Run, split: Split) -> Features:
        """The features of a split, which runs of the same backbone share."""
        plan = run.plan
        kept = kept_features(plan.backbone, split, self.device, plan.encoding)
        key = canonical_json([_network_of(plan), split.name, split.fingerprint, repr(plan.encoding)])
        if key not in self.features:
            self.features[key] = Features(None if kept is None else entry_of(kept))
        return self.features[key]

    def send(self, run: Sharded) -> None:
        """Give a run to the cluster: at its beginning, and when its parameters are decided."""
        if run.sent is not None:
            return
        plan = run.run.plan
        key = _network_of(plan)
        if key not in self.networks:
            self.networks[key] = self.cluster.put(plan.backbone.module)
        runtime = plan.encoding.runtime_for(plan.backbone.module, self.device)  # which "auto" might not be on other machines
        light = replace(plan.light(), encoding=replace(plan.encoding, runtime=runtime))
        files = _files_of(plan)
        self.files.update({file.entry: file.path for file in files.values()})
        job = Job(light, run.run.sampler, plan.learned, files, self.home, self.progress.verbose)
        run.sent = Sent(self.cluster.put(job), self.networks[key], run.plugins)


def _network_of(plan: Plan) -> str:
    """What decides a network, as text."""
    backbone = plan.backbone
    return canonical_json(
        [backbone.name, backbone.parameters, backbone.weights_sha256, backbone.tune, repr(backbone.preprocess)]
    )


def _plugins_of(plan: Plan) -> tuple[Plugin, ...]:
    """The files of plug-ins that a run names."""
    config = plan.config
    named = [name.rpartition(":")[0] for name in (config.method, config.dataset, config.backbone, config.sampler) if name]
    paths = dict.fromkeys(Path(file).resolve() for file in named if file.endswith(".py"))
    with os_errors_named("cannot read"):
        return tuple((str(path), path.read_bytes()) for path in paths)


def _files_of(plan: Plan) -> dict[Literal["weights", "names"], UserFile]:
    """The files that a run reads while it evaluates: names of classes, and weights where the text tower is wanted, too."""
    files: dict[Literal["weights", "names"], UserFile] = {}
    if plan.backbone.file is not None and (plan.method.uses_text or plan.method.uses_text_tower):
        files["weights"] = UserFile.of(plan.backbone.file)
    if plan.texts is not None and plan.texts.file is not None:
        files["names"] = UserFile.of(plan.texts.file)
    return files
