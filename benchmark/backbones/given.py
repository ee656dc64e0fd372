"""Any module of the user's program as a backbone."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Generator, nn

from .base import Backbone


@dataclass(frozen=True)
class GivenModule(Backbone):
    """A network with its weights from the user's program: float [B, C, H, W] → features [B, D]."""

    module: ClassVar[nn.Module]

    @classmethod
    def hub_weights(cls, name: str) -> str | None:
        """Its own."""
        return "given"

    def code_version(self) -> str:
        """The class and a hash of the modules in it, as they print themselves."""
        return f"{type(self.module).__qualname__} {hashlib.sha256(str(self.module).encode()).hexdigest()[:12]}"

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """A copy of the module."""
        return copy.deepcopy(self.module).cpu()

    def build_from_hub(self, channels: int) -> tuple[nn.Module, str]:
        """A copy of the module, and a hash of its tensors."""
        module, sha = copy.deepcopy(self.module).cpu(), hashlib.sha256()
        for name, tensor in module.state_dict().items():
            sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            sha.update(tensor.detach().contiguous().flatten().view(-1).numpy().tobytes())
        return module, sha.hexdigest()


def backbone_of(module: nn.Module) -> type[GivenModule]:
    """The backbone of a module, called `module:CLASS`."""
    called: Mapping[str, Any] = {"module": module, "__module__": GivenModule.__module__, "__doc__": GivenModule.__doc__}
    return type(GivenModule.__name__, (GivenModule,), dict(called))
