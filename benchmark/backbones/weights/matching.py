"""Filling a network with the tensors of a file whose names and extent may differ a little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ....core.errors import UserError, listed
from .file import choice, usual

COMPILED = "_orig_mod."  # which torch.compile puts into names
PREFIXES = ("module.", "encoder.", "backbone.")  # left by DataParallel, and by trainers that hold the network in a part
UNFINISHED = "learner.backbone."  # where a training of ours that is not finished has the network, perhaps beside its teacher
NEEDED = 0.9  # share of the tensors that has to match, and of the numbers in them
COUNTER = "num_batches_tracked"  # batch norm's step counter changes no feature and is often left out


@dataclass(frozen=True)
class Match:
    """The match between tensors and a network.

    Attributes:
        own: tensors of the network by name, without batch norm's counters.
        given: those of the file, by the names that they have in the network or would have in it.
        first: a few names as they stand in the file.
    """

    own: Mapping[str, Tensor]
    given: Mapping[str, Tensor]
    first: str

    @property
    def fitting(self) -> dict[str, Tensor]:
        """Those whose name and shape are in both."""
        both = [name for name in self.own if name in self.given]
        return {name: self.given[name] for name in both if _fits(self.given[name], self.own[name])}

    @property
    def unused(self) -> list[str]:
        """Names in the file alone."""
        return [name for name in self.given if name not in self.own]

    @property
    def foreign(self) -> list[str]:
        """Those in the file alone that belong to a part that the network has: the file is of a larger architecture."""
        parts = {_part(name) for name in self.own}
        return [name for name in self.unused if _part(name) in parts]

    @property
    def count(self) -> int:
        """How many tensors should match."""
        return len(self.own) + len(self.foreign)

    @property
    def share(self) -> float:
        """Of the numbers in them, how many do; few tensors may hold most of a network."""
        numbers = _numbers(self.own.values()) + _numbers(self.given[name] for name in self.foreign)
        return _numbers(self.fitting.values()) / max(numbers, 1)

    def enough(self, needed: float) -> bool:
        """Whether a share of the tensors matches, and of the numbers in them."""
        return len(self.fitting) >= needed * self.count and self.share >= needed

    def misses(self) -> list[str]:
        """The mismatches in words."""
        fitting = self.fitting
        missing = [_miss(name, value, self.given.get(name)) for name, value in self.own.items() if name not in fitting]
        return missing + [f"{name} is in the file alone" for name in self.foreign]


def match(module: nn.Module, tensors: Mapping[str, Tensor], weights: str) -> Match:
    """Compare parameters and batch-norm statistics by name and shape.

    What wrappers put before all names is taken off: torch.compile, DataParallel, Lightning, and whatever else most of the
    network's names stand under. A name that the network still lacks is tried without the prefixes that single parts have.

    Raises:
        UserError: the file holds the network several times, under different names.
    """
    own = {name: value for name, value in module.state_dict().items() if not name.endswith(COUNTER)}
    given = {name.replace(COMPILED, ""): value for name, value in tensors.items() if not name.endswith(COUNTER)}
    prefix = _prefix(given, own, weights)
    found: dict[str, Tensor] = {}
    for name, value in given.items():
        short = name.removeprefix(prefix)
        while short not in own and short.startswith(PREFIXES):
            short = short.partition(".")[2]
        if short in found and short in own:
            raise UserError(f"--weights {weights} hold several tensors for {short}, one of them {name}; keep one network")
        found[short] = value
    return Match(own, found, listed(tensors))


def fill(module: nn.Module, tensors: Mapping[str, Tensor], weights: str, backbone: str, needed: float = NEEDED) -> str:
    """Copy tensors into a network where name and shape match.

    Tensors of parts that the network lacks, such as a classifier head, are ignored; those of a part that it has (the seventh
    block of a layer that has six) count as misses, since the file is then of a larger architecture.

    Args:
        module: changed in place.
        tensors: by name.
        weights: the file, for the message.
        backbone: the network, for the message.
        needed: share of the tensors that has to match, and of the numbers in them.

    Returns:
        One line that says what matched and what did not.

    Raises:
        UserError: fewer match (the line lists the first misses), or values that match are NaN or infinite.
    """
    found = match(module, tensors, weights)
    fitting = found.fitting
    if not found.enough(needed):
        there = "" if found.given.keys() & found.own.keys() else f"; the file has {found.first}"
        raise UserError(
            f"--weights {weights} do not fit backbone {backbone}: {len(fitting)} of {found.count} tensors match "
            f"({int(100 * found.share)} % of the numbers), {100 * needed:.0f} % are needed; {listed(found.misses())}{there}"
        )
    _check_finite(fitting, weights)
    module.load_state_dict(fitting, strict=False)
    said = f"weights {weights}: {len(fitting)} of {len(found.own)} tensors of {backbone} match"
    if len(fitting) < len(found.own):
        missing = (name for name in found.own if name not in fitting)
        reasons = (_miss(name, found.own[name], found.given[name]) if name in found.given else name for name in missing)
        said += f"; left at their initial values: {listed(reasons)}"
    return said + (f"; not used: {listed(found.unused)}" if found.unused else "")


def choose(module: nn.Module, networks: Mapping[str, Mapping[str, Tensor]], path: Path) -> tuple[str, str]:
    """Which of the networks in a file is meant, where none is named: the usual one if it fits, else the only one that does.

    Args:
        module: the network.
        networks: tensors by name, by the entry of the file that holds them.
        path: the file, for messages.

    Returns:
        The entry, and what is to be said about the others that would fit as well ("" where there are none).

    Raises:
        UserError: several fit, and none is the usual one.
    """
    fitting = [name for name, tensors in networks.items() if match(module, tensors, path.name).enough(NEEDED)]
    meant = usual(networks)
    if meant is None or (meant not in fitting and fitting):
        meant = usual(fitting) if fitting else next(iter(networks))
    if meant is None:
        raise UserError(f"--weights {path.name} holds several networks that fit; take {choice(path, fitting)}")
    others = [name for name in fitting if name != meant]
    return meant, f"; taken is {meant or 'what is not nested'}, other networks by {choice(path, others)}" if others else ""


def _prefix(given: Mapping[str, Tensor], own: Mapping[str, Tensor], weights: str) -> str:
    """The prefix of most of the network's names in a file, such as "model.backbone."; "" where there is none."""
    counts: Counter[str] = Counter()
    for name in given:
        starts = [0, *(place + 1 for place, letter in enumerate(name) if letter == ".")]
        counts.update(name[:start] for start in starts if name[start:] in own)
    most = max(counts.values(), default=0)
    prefixes = [prefix for prefix, count in counts.items() if count == most]
    if UNFINISHED in prefixes:
        return UNFINISHED
    if len(prefixes) > 1 and most >= NEEDED * len(own):
        keys = [prefix.removesuffix(".") for prefix in prefixes]
        raise UserError(f"--weights {weights} holds the network several times; take {choice(Path(weights), keys)}")
    return min(prefixes, key=len, default="")


def _fits(given: Tensor, own: Tensor) -> bool:
    return given.shape == own.shape and given.is_floating_point() == own.is_floating_point()


def _numbers(tensors: Iterable[Tensor]) -> int:
    """How many numbers tensors hold."""
    return sum(tensor.numel() for tensor in tensors)


def _check_finite(tensors: Mapping[str, Tensor], weights: str) -> None:
    bad = [name for name, value in tensors.items() if not value.isfinite().all()]
    if bad:
        what = "NaN" if any(tensors[name].isnan().any() for name in bad) else "infinity"
        raise UserError(f"--weights {weights} hold {what} in {listed(bad)}; take weights from before their training diverged")


def _part(name: str) -> str:
    """The child of the network that a tensor belongs to."""
    return name.partition(".")[0]


def _miss(name: str, own: Tensor, given: Tensor | None) -> str:
    if given is None:
        return f"{name} is not in the file"
    if given.shape == own.shape:
        return f"{name} is {given.dtype} in the file"
    return f"{name} is {list(given.shape)} in the file, {list(own.shape)} in the network"
