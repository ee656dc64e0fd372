"""The description of a weights file: which network it fills, how images are made ready, and where the weights come from.

It stands as JSON in the metadata of the safetensors file itself. Older files have it beside them, as `NAME.json` beside
`NAME.safetensors`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ....core.decoding import Undecodable, decode, encode
from ....core.errors import UserError
from ....core.options import Settings
from ...records.answerer import Pretraining
from ..image_settings import Preprocess, problem_of

UNKNOWN = Pretraining("unknown", "unknown", external=True)  # of weights without a description
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
    parameters: Settings
    ways: int | None
    shots: int | None = None


@dataclass(frozen=True)
class MadeBy:
    """How weights were made. What a command does not know is None.

    Attributes:
        command: that makes them.
        config: the options of that command, all of them decided.
        processes: that trained them.
        device: type of the device.
        git_commit: of the code.
        fewbench: its version.
        torch: version.
        half_of: hash of the weights of which these are the half precision.
        weights: name of the weights that a classifier of photos was fitted on.
        weights_sha256: their hash.
    """

    command: str | None = None
    config: Settings | None = None
    processes: int | None = None
    device: str | None = None
    git_commit: str | None = None
    fewbench: str | None = None
    torch: str | None = None
    half_of: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None


@dataclass(frozen=True)
class ValAccuracy:
    """The validation that chose the state of the weights.

    Attributes:
        mean: accuracy, a fraction.
        ways: classes of a validation episode.
        shots: support images a class; 0 where names alone were classified by.
        queries: query images a class.
        episodes: number of them.
        step: steps done before it.
        epoch: epochs done before it, of a pretraining.
        fingerprint: of the images of the val split; None in weights of older versions.
    """

    mean: float | None = None
    ways: int | None = None
    shots: int | None = None
    queries: int | None = None
    episodes: int | None = None
    step: int | None = None
    epoch: int | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Description:
    """The description of weights.

    Attributes:
        backbone: registered name, or `file.py:Class`.
        backbone_parameters: of the network.
        preprocess: makes stored images ready for it.
        pretraining: what the weights have seen.
        method: that they were meta-trained with; None: they were not.
        made_by: command, configuration and versions.
        val_accuracy: of the state that was kept.
        weights_sha256: of the weights; None: not written yet, or nobody knows.
    """

    backbone: str
    backbone_parameters: Settings
    preprocess: Preprocess
    pretraining: Pretraining
    method: MetaTrained | None = None
    made_by: MadeBy = MadeBy()
    val_accuracy: ValAccuracy = ValAccuracy()
    weights_sha256: str | None = None

    def to_json(self) -> str:
        """JSON text; what is not known is left out."""
        return json.dumps(encode(self), indent=1, sort_keys=True)


def read_json(text: str, where: str) -> Description:
    """The description in a JSON text.

    Args:
        text: as `Description.to_json` makes it, or the content of a file beside older weights.
        where: it stands, for the message ("--weights x.safetensors: its description x.json").

    Raises:
        UserError: it is no JSON, or not as a description should be.
    """
    try:
        description = decode(Description, json.loads(text))
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
