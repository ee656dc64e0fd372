"""LocoProp-S: every layer solves a least-squares problem of its own, all layers at once.

Amid, Anil and Warmuth 2022, "LocoProp: Enhancing BackProp via Local Loss Optimization", arXiv:2106.06199.

One backward pass gives each layer with weights W (the bias is a column of W, its input 1) and inputs X a target for its outputs
A = W X, before the activation: T = A − γ ∂L/∂A. The new weights minimise ½ ‖W X − T‖² + ‖W − W_t‖² / (2 η), with X as it was.
The first step of gradient descent on that is a step of SGD. The minimum is W_t − γ ∂L/∂W (X Xᵀ + I / η)⁻¹, which we take.

The loss is a mean, and so both parameters grow with the rows of X, N of them: γ = N · learning rate, and 1 / η = N · DAMPING ·
the mean square of the inputs. The step is then `learning rate` · ∂L/∂W (X Xᵀ / N + damping)⁻¹. It does not change when the
inputs are scaled and the weights scaled back. For convolutions the columns of X are patches, at all places of all images. The
inputs of a batch norm's scale and shift have mean 0 and mean square 1 in each channel, hence X Xᵀ / N = I there.

Differs from the paper: the exact minimum, where the authors' code makes ten steps of RMSProp towards it; heavy-ball momentum
over steps, where that RMSProp has its own; convolutions and batch norm, where that code has linear layers alone. LocoProp-M,
with the loss that matches an activation, is not included: in our networks a batch norm stands between layer and activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import unfold
from torch.nn.modules.batchnorm import _BatchNorm

from ....core.errors import UsageError
from ....methods.parts.locoprop import DAMPING

CHUNK = 1 << 22  # numbers in the patches that are unfolded at once, 16 MiB
INSTEAD = "take another optimizer, such as adamw"


class LocoProp(torch.optim.Optimizer):
    """LocoProp-S for networks of Linear, Conv2d and batch norm.

    It watches the inputs of the layers in training mode, by hooks. All passes through a layer between two steps are one batch.
    """

    def __init__(self, module: nn.Module, lr: float, weight_decay: float = 0.0, momentum: float = 0.0) -> None:
        """Watch the layers of a network.

        Args:
            module: the network; its parameters that require grad are trained.
            lr: the learning rate, see the top of this file.
            weight_decay: share of the weights, times the learning rate, that is taken off at each step; biases and batch norms
                keep theirs.
            momentum: share of the last step that is made again.

        Raises:
            UsageError: a layer is of another kind.
        """
        self.layers = list(_layers(module))
        parameters = [tensor for layer in self.layers for tensor in layer.parameters]
        if not parameters:
            raise UsageError(f"optimizer locoprop: nothing to train; {INSTEAD}")
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every layer to the minimum of its problem.

        Raises:
            UsageError: a layer has a gradient, but nothing went through it.
        """
        group = self.param_groups[0]
        for layer in self.layers:
            moved = [tensor for tensor in layer.parameters if tensor.grad is not None]
            if not moved:
                continue
            if layer.decays:
                layer.parameters[0].mul_(1 - group["lr"] * group["weight_decay"])
            for tensor, direction in zip(moved, layer.directions(moved), strict=True):
                state = self.state[tensor]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(tensor)
                tensor.sub_(state["momentum"].mul_(group["momentum"]).add_(direction), alpha=group["lr"])


class _Norm:
    """The scale and shift of a batch norm, to whose closed form the inputs say nothing."""

    decays = False

    def __init__(self, module: nn.Module) -> None:
        self.parameters = _trained(module)

    def directions(self, moved: list[Tensor]) -> list[Tensor]:
        """The gradients, damped."""
        return [tensor.grad / (1 + DAMPING) for tensor in moved if tensor.grad is not None]


class _Layer:
    """A linear layer or a convolution, with the moments of its inputs since the last step.

    Attributes:
        parameters: weights, and bias if there is one.
        moments: X Xᵀ [D, D], or [D + 1, D + 1] with a bias.
        rows: N.
    """

    decays = True

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.parameters = _trained(module)
        self.moments: Tensor | None = None
        self.rows = 0
        module.register_forward_pre_hook(self._watch)

    def _watch(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        if module.weight is not self.parameters[0]:
            raise UsageError(f"optimizer locoprop: the method trains copies of layer {self.name}; {INSTEAD}")
        with torch.no_grad(), torch.autocast(inputs[0].device.type, enabled=False):
            for columns in self._columns(inputs[0].detach()):
                if len(self.parameters) == 2:
                    columns = torch.cat([columns, columns.new_ones(1, columns.shape[1])])
                moments = columns @ columns.T
                self.moments = moments if self.moments is None else self.moments.add_(moments)
                self.rows += columns.shape[1]

    def _columns(self, inputs: Tensor) -> Iterator[Tensor]:
        """The inputs of the layer's dot products, a part [D, rows] at a time."""
        module = self.module
        if not isinstance(module, nn.Conv2d):
            yield inputs.float().reshape(-1, inputs.shape[-1]).T
            return
        inputs = inputs.float().reshape(-1, *inputs.shape[-3:])
        patch = module.weight[0].numel()
        stride = module.stride[0] * module.stride[1]
        images = max(1, CHUNK * stride // (patch * inputs.shape[-1] * inputs.shape[-2]))
        for some in inputs.split(images):
            patches = unfold(some, module.kernel_size, module.dilation, module.padding, module.stride)  # type: ignore[arg-type]
            yield patches.transpose(0, 1).flatten(1)  # [B, D, places] to [D, B · places]

    def directions(self, moved: list[Tensor]) -> list[Tensor]:
        """∂L/∂W (X Xᵀ / N + damping)⁻¹, as weights and bias. The moments begin anew."""
        if self.moments is None or len(moved) < len(self.parameters):
            raise UsageError(f"optimizer locoprop: layer {self.name} is used other than by calling it; {INSTEAD}")
        # In double precision: the moments of rectified maps, whose mean is far from 0, are nearly singular.
        moments, rows = self.moments.double(), torch.tensor(self.rows, dtype=torch.float64, device=self.moments.device)
        if distributed.is_available() and distributed.is_initialized():  # the gradients are those of the whole batch
            distributed.all_reduce(moments)
            distributed.all_reduce(rows)
        self.moments, self.rows = None, 0
        moments /= rows
        weight = self.parameters[0]
        moments.diagonal().add_(DAMPING * moments.diagonal().mean())
        factor = torch.linalg.cholesky_ex(moments).L  # without a check: what is not finite is the training loop's to find
        gradient = torch.cat([_gradient(tensor).reshape(len(weight), -1) for tensor in moved], dim=1)  # [outputs, D (+ 1)]
        solved = torch.cholesky_solve(gradient.T, factor).T.to(weight.dtype)
        shares = solved.split([weight[0].numel(), 1][: len(moved)], dim=1)
        return [share.reshape(tensor.shape) for share, tensor in zip(shares, moved, strict=True)]


def _gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad.double()


def _trained(module: nn.Module) -> list[Tensor]:
    """The parameters of the module itself, weights first."""
    return [tensor for tensor in module.parameters(recurse=False) if tensor.requires_grad]


def _layers(module: nn.Module) -> Iterator[_Layer | _Norm]:
    """The layers of a network that have something to train.

    Raises:
        UsageError: one of them is neither Linear nor Conv2d nor batch norm, or shares its weights.
    """
    known: set[int] = set()
    for name, part in module.named_modules():
        parameters = _trained(part)
        if not parameters:
            continue
        if not _can(part) or known & {id(tensor) for tensor in parameters}:
            raise UsageError(
                f"optimizer locoprop: {type(part).__name__} {name or 'itself'} cannot be trained with it, which takes networks "
                f"of Linear, Conv2d (without groups, padded with zeros) and batch norm, each with weights of its own; {INSTEAD}"
            )
        known |= {id(tensor) for tensor in parameters}
        yield _Norm(part) if isinstance(part, _BatchNorm) else _Layer(name, part)


def _can(module: nn.Module) -> bool:
    """Whether a module is a layer whose output is its weights times its input; a subclass may do more in its `forward`."""
    if isinstance(module, _BatchNorm):
        return True
    if isinstance(module, nn.Linear):
        return type(module).forward is nn.Linear.forward and module.weight.requires_grad
    if not isinstance(module, nn.Conv2d) or type(module).forward is not nn.Conv2d.forward or not module.weight.requires_grad:
        return False
    return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
