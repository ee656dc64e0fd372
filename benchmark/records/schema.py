"""The schema version of records, and the migration of older ones."""

from __future__ import annotations

from collections.abc import Callable

Content = dict[str, object]  # JSON of a record, of which nothing is checked yet
SCHEMA_VERSION = 1

# One step each: MIGRATIONS[v] turns the JSON content of schema v into that of schema v + 1.
MIGRATIONS: dict[int, Callable[[Content], Content]] = {}


def migrate(content: Content) -> Content:
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
