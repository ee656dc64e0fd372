"""The description of a weights file: which network it fills, how images are made ready, and where the weights come from.

It stands as JSON in the metadata of the safetensors file itself. Older files have it beside them, as `NAME.json` beside
`NAME.safetensors`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ....core.decoding import Undecodable, decode
from ....core.errors import UserError
from ...records.answerer import Pretraining
from ..base import Preprocess
from ..image_settings import problem_of

UNKNOWN = {"dataset": "unknown", "recipe": "unknown", "external": True}  # history of weights without a description
UNTRAINED = "none"  # the recipe of weights that nothing has changed
MOST_WAYS = 100_000


@dataclass(frozen=True)
class MetaTrained:
    """The method that weights were meta-trained with.

    Attributes:
        name: registered name, or `file.py:Class`.
        parameters: of the method.
        ways: classes of a training episode; None where they varied.
        shots: support images a class of a training episode; None where they varied or nobody knows.
    """

    name: str
    parameters: dict[str, Any]
    ways: int | None
    shots: int | None = None


@dataclass(frozen=True)
class Description:
    """The description of weights.

    Attributes:
        backbone: registered name, or `file.py:Class`.
        backbone_parameters: of the network.
        preprocess: makes stored images ready for it.
        pretraining: what the weights have seen: at least what `Pretraining` needs.
        method: that they were meta-trained with; None: they were not.
        made_by: command, configuration and versions.
        val_accuracy: of the state that was kept.
        weights_sha256: of the weights; None: not written yet, or nobody knows.
    """

    backbone: str
    backbone_parameters: dict[str, Any]
    preprocess: Preprocess
    pretraining: dict[str, Any]
    method: MetaTrained | None = None
    made_by: dict[str, Any] = field(default_factory=dict)
    val_accuracy: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None

    def to_json(self) -> str:
        """JSON text; what is not known is left out."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(known, indent=1, sort_keys=True)


def read_json(text: str, where: str) -> Description:
    """The description in a JSON text.

    Args:
        text: as `Description.to_json` makes it, or the content of a file beside older weights.
        where: it stands, for the message ("--weights x.safetensors: its description x.json").

    Raises:
        UserError: it is no JSON, or not as a description should be.
    """
    try:
        content = json.loads(text)
        description = decode(Description, content)
        decode(Pretraining, description.pretraining, "pretraining")
    except Undecodable as error:
        raise UserError(f"{where} is not as it should be: {error}") from error
    except ValueError as error:
        raise UserError(f"{where} cannot be read ({error})") from error
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply") from error
    if problem := problem_of(description.preprocess):
        raise UserError(f"{where} is not as it should be: preprocess.{problem}")
    if description.method is not None and not 1 <= (description.method.ways or 1) <= MOST_WAYS:
        raise UserError(f"{where} is not as it should be: method.ways={description.method.ways}: 1 to {MOST_WAYS:,}")
    return description


def beside(weights: Path) -> Path:
    """Where the description of an older weights file lies."""
    return weights.with_suffix(".json")
