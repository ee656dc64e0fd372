import pytest

from fewbench.benchmark.records import schema as record_schema
from fewbench.benchmark.records.schema import migrate


def test_old_versions_pass_through_every_migration_in_turn(monkeypatch):
    monkeypatch.setattr(record_schema, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(
        record_schema, "MIGRATIONS", {1: lambda old: {**old, "b": old["a"] + 1}, 2: lambda old: {**old, "c": old["b"] * 10}}
    )
    assert migrate({"schema_version": 1, "a": 1}) == {"schema_version": 3, "a": 1, "b": 2, "c": 20}
    assert migrate({"schema_version": 3, "a": 1}) == {"schema_version": 3, "a": 1}


@pytest.mark.parametrize("version", [0, -1, None, "1", True, 1.0])
def test_what_is_no_schema_version_is_refused(version):
    with pytest.raises(ValueError, match="schema_version is"):
        migrate({"schema_version": version})


def test_every_older_version_has_a_migration():
    assert sorted(record_schema.MIGRATIONS) == list(range(1, record_schema.SCHEMA_VERSION))
