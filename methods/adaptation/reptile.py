"""Reptile: train on a task, then move the initial weights towards the trained ones.

Nichol, Achiam and Schulman 2018, "On first-order meta-learning algorithms", arXiv:1803.02999.

In an episode, backbone and linear classifier are trained by Adam without momentum (β₁ = 0) on mini-batches of the support; in
meta-training, of support and queries. With θ the weights before and θ' those after, the gradient of `loss` is the mean of θ −
θ' over tasks; its value, the loss of the last mini-batch, is for display only. The paper's update θ ← θ + ε·(θ' − θ) is plain
SGD with this gradient and a learning rate ε that falls linearly from 1 to 0.

The defaults are those of the paper for Omniglot 5-way, trained with 10 images a class and 5 tasks a step. For mini-ImageNet
they are inner_steps=8 test_batch_size=15, with 15 images a class.

Differs from the paper's released code: here Adam's second moments start at zero for every task; there they are carried from one
task to the next. Here `statistics=support` normalises queries by the support alone; there each query is added to the support.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.func import grad_and_value

from ..base import Episodes, parameter
from ..parts.inner_loop import AdaptedNetwork, descend
from ..parts.meta_gradient import with_gradients
from ..parts.random_numbers import shuffled
from ..parts.task_network import Network, Parameters, Task, fitted_scores

SECOND_DECAY, EPSILON = 0.999, 1e-8  # β₂ and ε of Adam


@dataclass(frozen=True)
class Reptile(AdaptedNetwork):
    """Reptile: initial weights that move towards the weights after training on each task (Nichol et al. 2018)."""

    # Five tasks a step; 10 images a class on Omniglot and 15 on mini-ImageNet, shots and queries together. Adam takes the
    # update as a gradient, which the paper names as an alternative to plain SGD with a rate that falls from 1 to 0.
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "*": {"meta_batch": 5, "queries": 9},
        "mini-imagenet": {"queries": 14},
    }
    citation: ClassVar[str] = "Nichol, Achiam and Schulman 2018, arXiv:1803.02999"

    inner_learning_rate: float = parameter(0.001, "learning rate of Adam on a task", above=0)
    inner_steps: int = parameter(5, "mini-batches in meta-training", minimum=1)
    batch_size: int = parameter(10, "images of a mini-batch in meta-training", minimum=1)
    test_steps: int = parameter(50, "mini-batches in evaluation", minimum=0)
    test_batch_size: int = parameter(5, "images of a mini-batch in evaluation", minimum=1)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the output of the network after training on the support.

        Raises:
            UserError: `tasks` raises it.
        """
        network, scores = self.network(episodes), []
        with torch.no_grad():
            for task, seed in zip(self.tasks(episodes), episodes.seeds, strict=True):
                rows = _mini_batches(seed, len(task.support), self.test_steps, self.test_batch_size)
                trained, _ = self._trained(network, task, rows)
                scores.append(network.query_scores(trained, task))
        return fitted_scores(torch.stack(scores), episodes.ways)

    def loss(self, episodes: Episodes) -> Tensor:
        """A scalar whose gradient is the mean over tasks of θ − θ'; its value is the mean of the last mini-batches' losses."""
        network = self.network(episodes)
        start = {name: tensor for name, tensor in network.parameters.items() if tensor.requires_grad}
        sums, total = [torch.zeros_like(tensor) for tensor in start.values()], torch.zeros((), device=episodes.query.device)
        with torch.no_grad():
            for task, seed in zip(self.tasks(episodes), episodes.seeds, strict=True):
                images, labels = torch.cat([task.support, task.query]), torch.cat([task.support_labels, task.query_labels])
                whole = task._replace(support=images, support_labels=labels)
                rows = _mini_batches(seed, len(images), self.inner_steps, self.batch_size)
                trained, loss = self._trained(network, whole, rows)
                for so_far, (name, tensor) in zip(sums, start.items(), strict=True):
                    so_far += (tensor - trained[name]) / len(episodes)
                total += loss / len(episodes)
        return with_gradients(total, list(start.values()), sums)

    def _trained(self, network: Network, task: Task, mini_batches: Tensor) -> tuple[Parameters, Tensor]:
        """The parameters after Adam's steps on rows [steps, B] of the support, and the loss of the last step."""
        start = {name: tensor.detach() for name, tensor in network.parameters.items()}
        moments = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
        loss = torch.zeros((), device=task.support.device)

        def gradient(parameters: Parameters, step: int) -> Parameters:
            nonlocal loss
            rows = mini_batches[step]
            batch = task._replace(support=task.support[rows], support_labels=task.support_labels[rows])
            slopes, loss = cast(tuple[Parameters, Tensor], grad_and_value(network.support_loss)(parameters, batch))
            return slopes

        def change(name: str, slope: Tensor, step: int) -> Tensor:
            moments[name].mul_(SECOND_DECAY).addcmul_(slope, slope, value=1 - SECOND_DECAY)
            scale = (moments[name] / (1 - SECOND_DECAY ** (step + 1))).sqrt().add_(EPSILON)
            return self.inner_learning_rate * slope / scale

        return descend(start, len(mini_batches), gradient, change), loss


def _mini_batches(seed: Tensor, images: int, steps: int, size: int) -> Tensor:
    """Draw mini-batches [steps, size] of image numbers: one random order of all images after another, cut into pieces."""
    present = torch.ones(1, images, dtype=torch.bool, device=seed.device)
    orders = [shuffled(seed[None], epoch, present)[0] for epoch in range(max(1, -(-steps * size // images)))]
    return torch.cat(orders)[: steps * size].view(steps, size)
