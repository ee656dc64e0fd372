"""Reading the root of a user's images: a folder, an archive, or a CSV file."""

from __future__ import annotations

from pathlib import Path

from ....core.errors import UserError
from ....core.files import os_errors_named
from .archives import archive, is_archive
from .csv_layout import layout_of_csv
from .folder_layout import Choices, Layout
from .holders import FolderFiles
from .pattern_layout import layout_of_pattern
from .tree_layout import layout_of_tree


def read_layout(root: Path, choices: Choices) -> Layout:
    """Find the classes below a folder, in an archive, or in a CSV file.

    Raises:
        UserError: the root does not exist, has no known form, or can be read in two ways.
    """
    with os_errors_named("cannot read"):
        there, is_folder = root.exists(), root.is_dir()
    if not there:
        raise UserError(f"root={root}: no such file or folder")
    if root.suffix.lower() in (".csv", ".tsv"):
        return layout_of_csv(root, choices)
    if is_folder or is_archive(root):
        holder = FolderFiles(root) if is_folder else archive(root)
        return layout_of_pattern(root, holder, choices) if choices.pattern else layout_of_tree(root, holder, choices)
    raise UserError(f"root={root}: neither a folder, nor a zip or tar file, nor a CSV file")
