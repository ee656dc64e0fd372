"""Files of features that were made elsewhere or are to be taken there: `.npz`, `.safetensors` or `.parquet`.

All three hold arrays and entries of text, by name:

    features        float [n, D], one row an image of a split
    row, source     optional, one a row: its number in the split, or its name there (`bench features template` lists both)
    class_id        optional, one a row, to be compared with the split's
    text.0, …       optional, float [C, D]: features of the class names, one array for each set of prompts
    fingerprint, dataset, split     entries that say which images these are
    metadata        entry with JSON: what made the features, and the prompts and class names of text.0, …

In .npz an entry is an array without dimensions. In .safetensors it stands in the header, and so do `source` and `class_id`, as
JSON lists. In .parquet the arrays are columns, an entry is in the schema's metadata or a column that says the same in every
row, and there is no place for the features of class names. Nothing is ever unpickled.
"""

from __future__ import annotations

import importlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.decoding import decode
from ...core.errors import UsageError, UserError, listed
from ...core.files import os_errors_named, regular_file, write_atomically

SUFFIXES = (".npz", ".safetensors", ".parquet")
NAMES_OF_ROWS = ("source", "class_id")  # text, one a row
INFLATED, RATIO = 2**28, 100  # bytes that any .npz file may come to; how much larger it may become beyond
ENTRIES = ("fingerprint", "dataset", "split", "metadata")


@dataclass(frozen=True)
class FeatureContents:
    """The content of a file of features.

    Attributes:
        arrays: by name; those of text hold Python or numpy strings.
        entries: text by name.
    """

    arrays: Mapping[str, np.ndarray]
    entries: Mapping[str, str] = field(default_factory=dict)


def check_suffix(path: Path) -> str:
    """The suffix of a file of features.

    Raises:
        UsageError: it is another.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: a file of features ends in {listed(SUFFIXES)}")
    return path.suffix


def write_contents(path: Path, contents: FeatureContents) -> None:
    """Write a file, whole or not at all.

    Raises:
        UsageError: another suffix.
        UserError: it cannot be written, or Parquet's library is not installed.
    """
    writer = {".npz": _npz, ".safetensors": _safetensors, ".parquet": _parquet}[check_suffix(path)]
    write_atomically(path, writer(contents))


def read_contents(path: Path) -> FeatureContents:
    """Read a file.

    Raises:
        UsageError: another suffix.
        UserError: it cannot be read, is damaged, holds Python objects, or Parquet's library is not installed.
    """
    suffix = check_suffix(path)
    reader = {".npz": _read_npz, ".safetensors": _read_safetensors, ".parquet": _read_parquet}[suffix]
    with os_errors_named(f"cannot read {path}"):
        try:
            return reader(regular_file(path))
        except MemoryError as error:
            raise UserError(f"{path}: its arrays do not fit into memory") from error


def _npz(contents: FeatureContents) -> bytes:
    buffer = io.BytesIO()
    arrays = {name: array.astype(str) if name in NAMES_OF_ROWS else array for name, array in contents.arrays.items()}
    everything: dict[str, Any] = {**arrays, **{name: np.array(text) for name, text in contents.entries.items()}}
    np.savez(buffer, **everything)
    return buffer.getvalue()


def _read_npz(path: Path) -> FeatureContents:
    if not zipfile.is_zipfile(path):  # numpy would say that such a file is pickled
        raise UserError(f"{path} is no whole .npz file (np.savez writes one)")
    try:
        _check_members(path)
        with np.load(path, allow_pickle=False) as content:
            found = {name: content[name] for name in content.files}
        if strange := [name for name, one in found.items() if not isinstance(one, np.ndarray)]:
            raise ValueError(f"{strange[0]} in it is no array")
        texts = {name: array for name, array in found.items() if array.ndim == 0 and array.dtype.kind in "SU"}
        entries = {name: array.astype(str).item() for name, array in texts.items()}
    except (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            hint = "text of pandas is made plain by .to_numpy(str)"
            raise UserError(f"{path}: it holds Python objects, which are never unpickled; {hint}") from error
        raise UserError(f"{path} is no whole .npz file ({_reason(error)})") from error
    return FeatureContents({name: array for name, array in found.items() if name not in texts}, entries)


def _check_members(path: Path) -> None:
    """Check that a zip file holds each member once, and is not a small one that fills the memory."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names, size = [member.filename for member in members], sum(member.file_size for member in members)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: '{twice}' is there twice")
    if size > INFLATED and size > RATIO * path.stat().st_size:
        raise UserError(f"{path}: it inflates to {size / 1e9:.1f} GB, which features do not")


def _safetensors(contents: FeatureContents) -> bytes:
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(array) for name, array in contents.arrays.items() if name not in NAMES_OF_ROWS}
    lists = {name: json.dumps(list(map(str, contents.arrays[name]))) for name in NAMES_OF_ROWS if name in contents.arrays}
    return save(tensors, metadata={**contents.entries, **lists})


def _read_safetensors(path: Path) -> FeatureContents:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as content:
            tensors = {name: content.get_tensor(name) for name in content.keys()}
            entries = dict(content.metadata() or {})
    except SafetensorError as error:
        raise UserError(f"{path} is no whole .safetensors file ({_reason(error)})") from error
    arrays = {}
    for name, tensor in tensors.items():  # numpy has no bfloat16; float32 holds all of its values
        try:
            arrays[name] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        except TypeError as error:
            raise UserError(f"{path}: '{name}' is of type {tensor.dtype}; take float32, float16 or bfloat16") from error
    for name in entries.keys() & set(NAMES_OF_ROWS):
        try:
            arrays[name] = np.array(decode(list[str], json.loads(entries.pop(name))), dtype=object)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: '{name}' in its header is no JSON list of text") from error
    return FeatureContents(arrays, entries)


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        hint = "pip install pyarrow, or take .npz or .safetensors"
        raise UserError(f"features in Parquet need pyarrow: {hint}") from error


def _parquet(contents: FeatureContents) -> bytes:
    library, parquet = _arrow()
    columns = {}
    for name, array in contents.arrays.items():
        if array.ndim == 1:
            columns[name] = library.array(list(map(str, array)) if name in NAMES_OF_ROWS else array)
        elif name == "features":
            flat = library.array(np.ascontiguousarray(array).reshape(-1))
            columns[name] = library.FixedSizeListArray.from_arrays(flat, array.shape[1])
        else:
            raise UsageError("a .parquet file has no place for the features of class names; take .npz or .safetensors")
    buffer = io.BytesIO()
    parquet.write_table(library.table(columns).replace_schema_metadata(dict(contents.entries)), buffer)
    return buffer.getvalue()


def _read_parquet(path: Path) -> FeatureContents:
    library, parquet = _arrow()
    try:
        with path.open("rb") as file:
            table = parquet.read_table(file)
    except (ValueError, OSError) as error:  # pyarrow derives its errors from them
        raise UserError(f"{path} is no whole .parquet file ({_reason(error)})") from error
    entries = {}
    for key, value in (table.schema.metadata or {}).items():
        entries[key.decode(errors="replace")] = value.decode(errors="replace")
    arrays: dict[str, np.ndarray] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if name == "features":
            arrays[name] = _matrix(column, library, path)
        elif name in ENTRIES:
            said = {str(one) for one in column.unique().to_pylist()}
            if len(said) > 1:
                raise UserError(f"{path}: column '{name}' says {len(said)} different things; a file is of one split")
            entries.update(dict.fromkeys([name], *said) if said else {})
        else:
            arrays[name] = column.to_numpy(zero_copy_only=False)
    return FeatureContents(arrays, entries)


def _matrix(column: Any, library: Any, path: Path) -> np.ndarray:
    """A column of lists as [n, D]."""
    kinds = library.types
    if not any(is_kind(column.type) for is_kind in (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)):
        raise UserError(f"{path}: column 'features' holds {column.type}, not a list of numbers for each image")
    if column.null_count:
        raise UserError(f"{path}: column 'features' is empty in {column.null_count} of {len(column)} rows")
    widths = importlib.import_module("pyarrow.compute").list_value_length(column).unique().to_pylist() or [0]
    if len(widths) != 1:
        told = listed(sorted(widths))
        raise UserError(f"{path}: column 'features' holds lists of {told} numbers; all have to be of one width")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), widths[0])


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
