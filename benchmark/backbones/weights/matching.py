"""Filling a network with the tensors of a file whose names and extent may differ a little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from ....core.errors import UserError, listed

PREFIXES = ("module.", "encoder.", "backbone.")  # left by DataParallel, and by trainers that hold the network in a part
NEEDED = 0.9  # share of the tensors that has to match, and of the numbers in them
COUNTER = "num_batches_tracked"  # batch norm's step counter changes no feature and is often left out


def fill(module: nn.Module, tensors: Mapping[str, Tensor], weights: str, backbone: str, needed: float = NEEDED) -> str:
    """Copy tensors into a network where name and shape match.

    Matched are parameters and batch-norm statistics. A name that the network lacks is tried without its prefixes. Tensors of
    parts that the network lacks, such as a classifier head, are ignored; those of a part that it has (the seventh block of a
    layer that has six) count as misses, since the file is then of a larger architecture.

    Args:
        module: changed in place.
        tensors: by name.
        weights: the file, for the message.
        backbone: the network, for the message.
        needed: share of the tensors that has to match, and of the numbers in them: few tensors may hold most of a network.

    Returns:
        One line that says what matched and what did not.

    Raises:
        UserError: fewer match (the line lists the first misses), or values that match are NaN or infinite.
    """
    own = {name: value for name, value in module.state_dict().items() if not name.endswith(COUNTER)}
    given = _renamed(tensors, own, weights)
    fitting = {name: given[name] for name, value in own.items() if name in given and _fits(given[name], value)}
    parts = {_part(name) for name in own}
    unused = [name for name in given if name not in own]
    foreign = [name for name in unused if _part(name) in parts]
    misses = [_miss(name, value, given.get(name)) for name, value in own.items() if name not in fitting]
    misses += [f"{name} is in the file alone" for name in foreign]
    count = len(own) + len(foreign)
    numbers = _numbers(own.values()) + _numbers(given[name] for name in foreign)
    share = _numbers(fitting.values()) / max(numbers, 1)
    if len(fitting) < needed * count or share < needed:
        raise UserError(
            f"--weights {weights} do not fit backbone {backbone}: {len(fitting)} of {count} tensors match "
            f"({int(100 * share)} % of the numbers), {100 * needed:.0f} % are needed; {listed(misses)}"
        )
    _check_finite(fitting, weights)
    module.load_state_dict(fitting, strict=False)
    said = f"weights {weights}: {len(fitting)} of {len(own)} tensors of {backbone} match"
    if len(fitting) < len(own):
        said += f"; left at their initial values: {listed(name for name in own if name not in fitting)}"
    return said + (f"; not used: {listed(unused)}" if unused else "")


def _renamed(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], weights: str) -> dict[str, Tensor]:
    """The tensors by the names that they have in the network, or would have in it."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.endswith(COUNTER):
            continue
        short = name
        while short not in own and short.startswith(PREFIXES):
            short = short.partition(".")[2]
        if short in found and short in own:
            raise UserError(f"--weights {weights} hold several tensors for {short}, one of them {name}; keep one network")
        found[short] = value
    return found


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
