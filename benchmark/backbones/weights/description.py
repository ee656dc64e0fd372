"""The description of a weights file: which network it fills, how images are made ready, and where the weights come from.

It stands as JSON in the metadata of the safetensors file itself. Older files have it beside them, as `NAME.json` beside
`NAME.safetensors`, with the hash of the weights that it is of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ....core.decoding import Undecodable, decode
from ....core.errors import UserError
from ...records import sections
from ..base import Preprocess

UNKNOWN = {"dataset": "unknown", "recipe": "unknown", "external": True}  # history of weights without a description
UNTRAINED = "none"  # the recipe of weights that nothing has changed


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
class Content:
    """The JSON of a description, as far as it has to be of a form."""

    backbone: str
    backbone_parameters: dict[str, Any]
    preprocess: sections.Preprocess
    pretraining: sections.Pretraining
    method: MetaTrained | None = None
    made_by: dict[str, Any] = field(default_factory=dict)
    val_accuracy: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None


@dataclass(frozen=True)
class Description:
    """What is known about weights.

    Attributes:
        backbone: registered name, or `file.py:Class`.
        backbone_parameters: of the network.
        preprocess: makes stored images ready for it.
        pretraining: what the weights have seen: dataset, recipe, whether external data may be in them, and more.
        method: that they were meta-trained with; None: they were not.
        made_by: command, configuration and versions.
        val_accuracy: of the state that was kept.
        weights_sha256: of the weights; None: not written yet, or nobody knows.
    """

    backbone: str
    backbone_parameters: Mapping[str, Any]
    preprocess: Preprocess
    pretraining: Mapping[str, Any]
    method: MetaTrained | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)
    val_accuracy: Mapping[str, Any] = field(default_factory=dict)
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
        said = decode(Content, content)
    except Undecodable as error:
        raise UserError(f"{where} is not complete: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} cannot be read ({error})") from error
    preprocess = Preprocess.from_json(content["preprocess"])
    return Description(**{**vars(said), "preprocess": preprocess, "pretraining": content["pretraining"]})


def beside(weights: Path) -> Path:
    """Where the description of an older weights file lies."""
    return weights.with_suffix(".json")
