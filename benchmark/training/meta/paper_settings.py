"""What the papers trained with: the defaults of `bench train`, by method and dataset.

Where a paper trains with other numbers for more shots, they are those of its 1-shot experiments.
Each entry overrides the one for every dataset ("*"), and that the ones for every method (DEFAULTS). Sources stand beside them.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "ways": 5, "shots": 1, "queries": 15, "meta_batch": 1, "steps": 10_000, "optimizer": "adam", "learning_rate": 1e-3,
    "weight_decay": 0.0, "schedule": "constant", "halve_every": None, "clip_norm": None, "clip_value": None,
}  # fmt: skip

# Snell et al. 2017: Adam at 1e-3, halved every 2,000 episodes; Omniglot 60-way with 5 queries, mini-ImageNet 30-way (1-shot).
_PROTOTYPES = {
    "*": {"schedule": "step", "halve_every": 2000},
    "omniglot": {"ways": 60, "queries": 5},
    "mini-imagenet": {"ways": 30},
}
# Finn et al. 2017: meta-batch 32 on Omniglot (5-way), 4 on mini-ImageNet with gradients clipped to ±10; Adam at 1e-3.
_MAML = {
    "*": {"meta_batch": 4},
    "omniglot": {"meta_batch": 32, "queries": 1},
    "mini-imagenet": {"meta_batch": 4, "clip_value": 10.0},
}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "protonet": _PROTOTYPES,
    "matching-net": _PROTOTYPES,
    "maml": _MAML,
    "fomaml": _MAML,
    "anil": _MAML,
    "meta-sgd": _MAML,
    # Nichol et al. 2018: five tasks a step; 10 images a class on Omniglot and 15 on mini-ImageNet, shots and queries alike.
    # Their update goes to Adam as if it were a gradient, which they name as a choice beside plain SGD with a rate that falls
    # from 1 to 0.
    "reptile": {"*": {"meta_batch": 5, "queries": 9}, "mini-imagenet": {"queries": 14}},
    # Hu et al. 2022, from a pretrained ViT: SGD with momentum 0.9, 100 epochs of 2,000 episodes with 15 queries, of which the
    # first 5 warm up (--warmup-steps). A network that starts from nothing wants a rate a hundred times as high.
    "pmf": {"*": {"optimizer": "momentum", "learning_rate": 5e-5, "schedule": "cosine"}},
    # Sung et al. 2018: Adam at 1e-3, halved every 100,000 episodes; 19 queries a class for 5-way 1-shot on Omniglot.
    "relation-net": {"*": {"schedule": "step", "halve_every": 100_000}, "omniglot": {"queries": 19}},
}


def settings_of(method: str, dataset: str) -> dict[str, Any]:
    """The defaults for a method on a dataset."""
    own = SETTINGS.get(method, {})
    return DEFAULTS | own.get("*", {}) | own.get(dataset, {})
