"""MAML and Meta-SGD as learn2learn runs them, as methods here: its algorithms, our episodes, backbones and evaluation.

Arnold, Mahajan, Datta, Bunner and Zarkias 2020, "learn2learn: a library for meta-learning research", arXiv:2008.12284. The
methods are those of Finn, Abbeel and Levine 2017, arXiv:1703.03400, and of Li, Zhou, Chen and Li 2017, arXiv:1707.09835.

learn2learn wraps a module with backbone and linear classifier; `clone` and `adapt` make the steps on the support. Batch norm
uses the statistics of each batch (the module has no running ones), so that the scores are transductive. The learned modules
beside the backbone are those of `maml` and `meta-sgd`.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import warnings
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ..base import Episodes, parameter
from ..parts.inner_loop import InnerLoopMethod, RatedHead, RatedInnerLoop, meta_trained
from ..parts.task_network import Task, classification_loss, fitted_scores

INSTALL = (
    'CYTHON_FORCE_REGEN=1 pip install --no-deps --config-settings="--build-option=build_ext" learn2learn==0.2.0 '
    "&& pip install --no-deps gym gym-notices qpth && pip install requests scipy tqdm cloudpickle"
)


@dataclass(frozen=True)
class Learn2LearnMethod(InnerLoopMethod):
    """The base of both algorithms: adapt a clone of the module to the support, then score the queries with the clone."""

    inputs: ClassVar[Literal["features", "images"]] = "images"
    transductive: ClassVar[bool] = True

    order: Literal["first", "second"] = parameter("second", "first leaves gradients of gradients out of meta-training")

    @abstractmethod
    def algorithm(self, module: nn.Module, learned: nn.Module) -> Any:
        """Make learn2learn's algorithm from the network as a module, and the learned module beside the backbone."""

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the output of the module after adaptation to the support.

        Raises:
            UserError: learn2learn is not installed, or `tasks` raises it.
        """
        tasks, learned = self.tasks(episodes), copy.deepcopy(episodes.learned)
        assert learned is not None
        # learn2learn differentiates with respect to the module's own parameters, so that a copy has to require grad.
        module = copy.deepcopy(self.network(replace(episodes, learned=learned)).module).requires_grad_()
        scores = []
        with torch.enable_grad():
            algorithm = self.algorithm(module, learned)
            for task in tasks:
                scores.append(self._query_scores(algorithm, task, self.test_steps, first_order=True).detach())
        return fitted_scores(torch.stack(scores), episodes.ways)

    def loss(self, episodes: Episodes) -> Tensor:
        """Mean over tasks of the queries' cross-entropy after adaptation."""
        network, losses = self.network(episodes), []
        assert episodes.learned is not None
        algorithm = self.algorithm(network.module, episodes.learned)
        for task in self.tasks(episodes):
            scores = self._query_scores(algorithm, task, self.inner_steps, first_order=self.order == "first")
            losses.append(classification_loss(scores, task.query_labels, task.classes))
        return torch.stack(losses).mean()

    def _query_scores(self, algorithm: Any, task: Task, steps: int, first_order: bool) -> Tensor:
        """Scores [Q, W] of a clone after a number of steps on the support."""
        learner = algorithm.clone()
        for _ in range(steps):
            loss = classification_loss(learner(task.support), task.support_labels, task.classes)
            learner.adapt(loss, first_order=first_order)
        return learner(task.query)


@dataclass(frozen=True)
class Learn2LearnMAML(Learn2LearnMethod):
    """MAML as learn2learn has it (Finn et al. 2017; Arnold et al. 2020)."""

    citation: ClassVar[str] = "Finn et al. 2017, arXiv:1703.03400; Arnold et al. 2020, arXiv:2008.12284"

    def algorithm(self, module: nn.Module, learned: nn.Module) -> Any:
        """learn2learn's MAML, with one learning rate."""
        return _algorithms().MAML(module, lr=self.inner_learning_rate)


@dataclass(frozen=True)
class Learn2LearnMetaSGD(RatedInnerLoop, Learn2LearnMethod):
    """Meta-SGD as learn2learn has it (Li et al. 2017; Arnold et al. 2020)."""

    citation: ClassVar[str] = "Li et al. 2017, arXiv:1707.09835; Arnold et al. 2020, arXiv:2008.12284"

    def algorithm(self, module: nn.Module, learned: nn.Module) -> Any:
        """learn2learn's Meta-SGD, with the learned rates."""
        return _algorithms().MetaSGD(module, lrs=meta_trained(RatedHead, learned).rates)


def _algorithms() -> Any:
    """Import learn2learn's algorithms, without the warnings that gym prints. This takes seconds.

    Raises:
        UserError: learn2learn is not installed, or one of its dependencies is missing.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("learn2learn.algorithms")
        except ImportError as error:
            raise UserError(f"methods learn2learn:… need learn2learn ({error}): {INSTALL}") from error
