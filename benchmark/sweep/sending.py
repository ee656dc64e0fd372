"""Sends a run to the cluster: what many runs share travels once."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import torch

from ...core.progress import Progress
from ...tasks.datasets.base import Split
from ..evaluation.checks import CHOICES
from ..evaluation.plan import Plan
from ..evaluation.runner import Run
from ..features.table import kept_features
from ..records.identity import canonical_json
from .cluster import Cluster, Reference, Sent
from .parcels import Stored, entry_of
from .sharded import RUN, Draws, Features, Sharded
from .worker import Job


class Sender:
    """Opens runs and sends them.

    Attributes:
        draws: digests of the episodes, by what decides them.
        features: of splits, by the network and the images.
        networks: references of those that were sent, by what decides them.
    """

    def __init__(self, cluster: Cluster, home: str, progress: Progress) -> None:
        """Take a cluster, a file in this machine's cache by its path there, and a listener."""
        self.cluster, self.home, self.progress = cluster, home, progress
        self.device = torch.device("cuda" if cluster.gpu else "cpu")
        self.draws: dict[tuple[bytes, int], Draws] = {}
        self.features: dict[str, Features] = {}
        self.networks: dict[str, Reference] = {}

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
        return Sharded(run, number, features, draws, self.cluster.slots)

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
        config = plan.config
        named = (
            ("methods", config.method),
            ("datasets", config.dataset),
            ("backbones", config.backbone),
            ("samplers", config.sampler),
        )
        files = tuple((kind, _absolute(name)) for kind, name in named if name and _is_file(name))
        runtime = plan.encoding.runtime_for(plan.backbone.module, self.device)  # which "auto" might not be on other machines
        light = replace(plan.light(), encoding=replace(plan.encoding, runtime=runtime))
        job = Job(light, run.run.sampler, plan.learned, self.home, self.progress.verbose)
        run.sent = Sent(self.cluster.put(job), self.networks[key], files)


def _network_of(plan: Plan) -> str:
    """What decides a network, as text."""
    backbone = plan.backbone
    return canonical_json(
        [backbone.name, backbone.parameters, backbone.weights_sha256, backbone.tune, repr(backbone.preprocess)]
    )


def _is_file(name: str) -> bool:
    return name.rpartition(":")[0].endswith(".py")


def _absolute(name: str) -> str:
    file, _, cls = name.rpartition(":")
    return f"{Path(file).resolve()}:{cls}"
