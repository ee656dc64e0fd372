"""What images are made into for a network, and how the user says so: `--set backbone.size=128`, also channels, mean and std.

Torch is imported when images are changed, so that descriptions of weights need none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ...core.errors import UsageError, UserError, listed
from ...core.options import Settings
from ..records.answerer import NetworkInput

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 4_096  # pixels a side
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights that PIL uses for grey
NAMES = tuple(field.name for field in fields(NetworkInput))


@dataclass(frozen=True)
class Preprocess(NetworkInput):
    """From stored uint8 images to what the network was trained on. Runs on the device, a batch at a time.

    Attributes:
        channels: 1 or 3. Colour images become grey by luma, grey ones become colour by repeating.
        size: height and width in pixels; other sizes are resized (bilinear, antialiased, aspect ratio not kept).
        mean: subtracted, one a channel, on the scale 0 … 1.
        std: divided by, one a channel.
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Uint8 [B, H, W, C] to float32 [B, channels, size, size]."""
        from torch.nn import functional

        x = images.permute(0, 3, 1, 2).float() / 255
        if x.shape[1] == 3 and self.channels == 1:
            x = (x * x.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        elif x.shape[1] == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        if x.shape[2:] != (self.size, self.size):
            # Channel by channel, which takes half as long and gives the same numbers.
            x = functional.interpolate(
                x.contiguous(), (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        return (x - x.new_tensor(self.mean)[:, None, None]).div_(x.new_tensor(self.std)[:, None, None])


def apart(settings: Settings, own: Iterable[str]) -> tuple[Settings, Settings]:
    """The settings of images, and those of the network: a parameter that the network has itself (`own`) is the network's."""
    of_images = {name: value for name, value in settings.items() if name in NAMES and name not in own}
    return of_images, {name: value for name, value in settings.items() if name not in of_images}


def changed_by(preprocess: Preprocess, settings: Settings, owner: str) -> tuple[Preprocess, Settings]:
    """Replace parts of a preprocessing.

    Args:
        preprocess: what holds where nothing is set.
        settings: `channels`, `size`, `mean` or `std` to text or typed values; one mean or std is that of every channel.
        owner: for the message ("backbone conv4").

    Returns:
        The new preprocessing, and the settings as JSON can hold them.

    Raises:
        UsageError: a value is out of range.
        UserError: a plug-in gives no preprocessing.
    """
    if not isinstance(preprocess, Preprocess):  # of a plug-in
        raise UserError(f"{owner}: preprocess gives {type(preprocess).__name__}; expected a Preprocess")
    whole = {name: _whole(name, settings[name], owner) for name in ("channels", "size") if name in settings}
    lists = {name: _numbers(name, settings[name], owner) for name in ("mean", "std") if name in settings}
    channels, size = whole.get("channels", preprocess.channels), whole.get("size", preprocess.size)
    for name, values in lists.items():
        if len(values) not in (1, channels):
            raise UsageError(f"{owner}: {name}={settings[name]}: one number or {channels}, one a channel")
    mean, std = (
        _a_channel(lists.get(name, default), channels) for name, default in (("mean", preprocess.mean), ("std", preprocess.std))
    )
    changed = Preprocess(channels, size, mean, std)
    if problem := problem_of(changed):
        raise UsageError(f"{owner}: {problem}")
    recorded = {**whole, **{name: values[0] if len(values) == 1 else values for name, values in lists.items()}}
    return changed, recorded


def problem_of(preprocess: Preprocess) -> str | None:
    """The first value that no preprocessing of images has, such as "size=0: 1 to 4,096"; None: all are in range."""
    channels, size = preprocess.channels, preprocess.size
    if channels not in (1, 3):
        return f"channels={channels}: 1 or 3"
    if not 1 <= size <= LARGEST:
        return f"size={size}: 1 to {LARGEST:,}"
    for name in ("mean", "std"):
        values = getattr(preprocess, name)
        if len(values) != channels or not all(abs(value) < float("inf") for value in values):
            return f"{name}={_short(values)}: one finite number or {channels}, one a channel"
    return None if min(preprocess.std) > 0 else f"std={_short(preprocess.std)}: above 0"


def _short(values: Sequence[float]) -> str:
    return listed((f"{value:g}" for value in values), 4) or "nothing"


def _a_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """As many numbers as channels, where one stands for all; grey gets the mean of the colours'."""
    if len(values) == 1 or channels == 1:
        return (sum(values) / len(values),) * channels
    return tuple(values)


def _whole(name: str, value: Any, owner: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1 or isinstance(value, float):
        raise UsageError(f"{owner}: {name}={value}: a whole number of at least 1")
    return number


def _numbers(name: str, value: Any, owner: str) -> list[float]:
    try:
        content = ast.literal_eval(value) if isinstance(value, str) else value
        numbers = [float(number) for number in (content if isinstance(content, list | tuple) else [content])]
    except (ValueError, SyntaxError, TypeError):
        numbers = []
    if not numbers or not all(abs(number) < float("inf") for number in numbers):
        raise UsageError(f"{owner}: {name}={value}: one number for every channel, or one each, such as 0.5,0.5,0.5")
    return numbers
