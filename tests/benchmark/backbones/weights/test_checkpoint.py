"""A weights file with its description: one file now, two in earlier versions, and what is wrong with a spoilt one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.weights.checkpoint import (
    weights_sha256,
    write_checkpoint,
)
from fewbench.benchmark.backbones.weights.description import MadeBy
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.records.answerer import Pretraining
from fewbench.core.errors import UserError
from fewbench.core.files import sha256_of

from .conftest import described, one_line


def test_one_file_holds_weights_and_description_and_has_the_hash_of_the_weights(weights: Path):
    checkpoint = described(weights)
    assert [path.name for path in weights.parent.iterdir()] == [weights.name]
    assert checkpoint.sha256 == weights_sha256(weights) != sha256_of(weights)
    write_checkpoint(weights, checkpoint.tensors, replace(checkpoint.description, made_by=MadeBy(command="bench é")))  # type: ignore
    again = described(weights)
    assert again.description.made_by == MadeBy(command="bench é") and again.sha256 == checkpoint.sha256  # type: ignore[union-attr]
    save_file(checkpoint.tensors, weights)
    assert sha256_of(weights) == checkpoint.sha256  # the hash that older files have


def test_a_description_beside_older_weights_is_read(weights: Path, older: Path):
    loaded = load_backbone("conv4", {}, older)
    assert (loaded.parameters, loaded.preprocess.size, loaded.weights_sha256) == ({"width": 8}, 16, sha256_of(older))
    assert loaded.pretraining == Pretraining("nothing", "random", external=False)


def test_older_weights_that_are_replaced_take_their_description_with_them(older: Path):
    checkpoint = described(older)
    write_checkpoint(older, checkpoint.tensors, checkpoint.description)  # type: ignore[arg-type]
    assert [path.name for path in older.parent.iterdir()] == [older.name]
    notes = older.with_suffix(".json")
    notes.write_text('{"mine": 1}')
    write_checkpoint(older, checkpoint.tensors, checkpoint.description)  # type: ignore[arg-type]
    assert notes.read_text() == '{"mine": 1}'


def not_safetensors(weights: Path) -> None:
    weights.write_bytes(b"PK\x03\x04 something else entirely")


def truncate(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-50])


def empty(weights: Path) -> None:
    weights.write_bytes(b"")


def other_width(weights: Path) -> None:
    module = Conv4(width=5).build(3, 16, torch.Generator())
    write_checkpoint(weights, module.state_dict(), described(weights).description)  # type: ignore[arg-type]


def redescribed(**changes: object):
    """Change the description."""

    def spoil(weights: Path) -> None:
        checkpoint = described(weights)
        write_checkpoint(weights, checkpoint.tensors, replace(checkpoint.description, **changes))  # type: ignore

    return spoil


def beside(text: str):
    """Put a text in the place of an older file's description."""

    def spoil(weights: Path) -> None:
        save_file(described(weights).tensors, weights)
        weights.with_suffix(".json").write_text(text)

    return spoil


def without_preprocess(weights: Path) -> None:
    checkpoint = described(weights)
    content = json.loads(checkpoint.description.to_json())  # type: ignore[union-attr]
    del content["preprocess"]
    save_file(checkpoint.tensors, weights, metadata={"fewbench": json.dumps(content)})


def other_weights(weights: Path) -> None:
    beside(json.dumps({**json.loads(described(weights).description.to_json()), "weights_sha256": "0" * 64}))(weights)  # type: ignore


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (not_safetensors, r"--weights tiny\.safetensors is not a whole safetensors file: "),
        (truncate, r"--weights tiny\.safetensors is not a whole safetensors file: "),
        (empty, r"--weights tiny\.safetensors is not a whole safetensors file: "),
        (
            other_width,
            r"--weights tiny\.safetensors do not fit backbone conv4: 0 of 24 tensors match \(0 % of the numbers\), "
            r"100 % are needed; 0\.0\.weight is \[5, 3, 3, 3\] in the file, \[8, 3, 3, 3\] in the network, .* and 21 more$",
        ),
        (
            redescribed(backbone="resnet12"),
            r"--weights tiny\.safetensors belong to backbone resnet12, not conv4; add --backbone resnet12",
        ),
        (
            redescribed(backbone_parameters={"depth": 3}),
            r"backbone conv4 has no parameter 'depth'; did you mean 'width'\? It has: width \(int, ",
        ),
        (
            other_weights,
            r"--weights .*tiny\.safetensors: its description tiny\.json is of other weights; the file was replaced$",
        ),
        (beside("{"), r"--weights .*tiny\.safetensors: its description tiny\.json cannot be read \("),
        (beside("{}"), r"tiny\.safetensors: its description tiny\.json is not as it should be: backbone is missing$"),
        (beside("[]"), r"tiny\.safetensors: its description tiny\.json is not as it should be: the content is not a section$"),
        (without_preprocess, r"tiny\.safetensors: its description is not as it should be: preprocess is missing$"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_weights_are_one_line_that_names_them(weights: Path, spoil, message: str):
    spoil(weights)
    with pytest.raises(UserError, match=message) as caught:
        load_backbone("conv4", {}, weights)
    one_line(caught)


def test_weights_that_hold_nan_are_refused(weights: Path):
    network = load_backbone("conv4", {}, weights).module
    network[0][0].weight.data[0, 0, 0, 0] = float("nan")  # type: ignore[index]
    write_checkpoint(weights, network.state_dict(), described(weights).description)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^--weights tiny\.safetensors hold NaN in 0\.0\.weight; ") as caught:
        load_backbone("conv4", {}, weights)
    one_line(caught)
