"""What a record must hold, and how records of older schema versions become new ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 1

# One step each: MIGRATIONS[v] turns the JSON content of schema v into that of schema v + 1.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


@dataclass(frozen=True)
class OrNull:
    """A place that may hold null instead."""

    shape: Any


@dataclass(frozen=True)
class MayLack:
    """A key that may be absent, since records of this schema version were made before it came."""

    shape: Any


NUMBER = (int, float)
NAMES = {str: "text", int: "a whole number", NUMBER: "a number", bool: "true or false", dict: "a section", list: "a list"}

SHAPE: dict[str, Any] = {
    "status": str,
    "method": {
        "name": str,
        "version": str,
        "parameters": dict,  # every parameter; an optional list "changed" names those that differ from their defaults
        "source_sha256": OrNull(str),
        "transductive": bool,
        "uses_class_names": bool,
        "learned_sha256": MayLack(OrNull(str)),  # of the checkpoint with what the method learned; null for initial values
        "distribution": OrNull(str),
        "text": MayLack(
            {"names_sha256": str, "prompts": MayLack(str), "prompts_sha256": MayLack(str), "class_names": MayLack(str)}
        ),
        "chosen": MayLack({"values": dict, "split": str, "episodes": int, "tried": list}),  # of parameters that are "auto"
    },
    "backbone": {
        "name": str,
        "parameters": dict,  # as for the method
        "weights": OrNull(str),
        "weights_sha256": OrNull(str),
        "pretraining": OrNull({"dataset": str, "recipe": str, "external": bool}),
        "tune": str,
        "feature_dim": OrNull(int),
        "network_parameters": MayLack(int),  # without adapters
        "source_sha256": MayLack(str),  # of the code that makes the network
        "precision": MayLack(str),  # of encoding
        "compile": MayLack(bool),
    },
    "task": {
        "dataset": str,
        "dataset_version": str,
        "dataset_parameters": dict,
        "fingerprint": str,
        "split": str,
        "sampler": str,
        "sampler_parameters": dict,
        "ways": OrNull(int),
        "shots": OrNull(int),
        "queries": OrNull(int),
        "seed": int,
        "episodes_sha256": str,
        # of the images, whose fingerprint covers it; version: of the code that does it
        "corruption": MayLack({"name": str, "severity": int, "version": int, "clean_fingerprint": str}),
    },
    "n_episodes": int,
    "accuracy": {
        "mean": NUMBER,
        "half_width": OrNull(NUMBER),
        "level": NUMBER,
        "interval": str,
        "bootstrap": OrNull({"low": OrNull(NUMBER), "high": OrNull(NUMBER), "resamples": int}),
        "without_replacement": OrNull({"mean": NUMBER, "half_width": OrNull(NUMBER), "episodes": int}),
        "per_episode": dict,
    },
    "timing": {
        "encode_seconds": NUMBER,
        "classify_seconds": NUMBER,
        "total_seconds": NUMBER,
        "started_utc": str,
        "disjoint_seconds": MayLack(NUMBER),  # of the episodes without replacement
        # how the features were made, in this run or an earlier one; null for a method that works on images
        "encoding": MayLack(
            OrNull({"images": int, "seconds": NUMBER, "device": str, "device_name": OrNull(str), "precision": str})
        ),
    },
    "environment": dict,
    "fewbench": {"version": str, "git_commit": OrNull(str), "git_dirty": OrNull(bool)},
    "argv": list,
    "config_sha256": str,
}


def problem(value: Any, shape: Any = SHAPE, where: str = "") -> str | None:
    """What keeps JSON content from having a shape ("task.seed is missing"), or None. Further keys are allowed in sections."""
    if isinstance(shape, OrNull):
        return None if value is None else problem(value, shape.shape, where)
    if not isinstance(shape, dict):
        # bool is a kind of int to Python, but not in a record
        fits = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        return None if fits else f"{where} is not {NAMES[shape]}"
    if not isinstance(value, dict):
        return f"{where} is not a section"
    for key, inner in shape.items():
        place = f"{where}.{key}" if where else key
        optional = isinstance(inner, MayLack)
        if key not in value and not optional:
            return f"{place} is missing"
        found = problem(value[key], inner.shape if optional else inner, place) if key in value else None
        if found:
            return found
    return None


def migrate(content: dict[str, Any]) -> dict[str, Any]:
    """Bring the JSON content of a record, of this schema version or an older one, to this version.

    Raises:
        ValueError: there is no such schema version.
    """
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(f"schema_version is {version!r}, not a whole number from 1 to {SCHEMA_VERSION}")
    for old in range(version, SCHEMA_VERSION):
        content = {**MIGRATIONS[old](content), "schema_version": old + 1}
    return content
