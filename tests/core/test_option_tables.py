from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fewbench.core.errors import UsageError
from fewbench.core.option_tables import check_complete, flattened, options_of, read_table
from fewbench.core.options import parameter


@dataclass
class Config:
    name: str
    batch_size: int | None = parameter(None, "images", none="auto")
    seed: int = parameter(0, "of episodes", minimum=0, several=True)
    flip: bool | None = None
    file: Path | None = None
    tune: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def test_keys_with_dashes_and_tables_of_parameters_become_fields():
    table = {"name": "x", "batch-size": 4, "file": "a/b", "set": {"power": 2, "backbone": {"width": 8}, "dataset.noise": 1.0}}
    settings = {"power": 2, "backbone.width": 8, "dataset.noise": 1.0}
    assert options_of(table, Config, "here") == {"name": "x", "batch_size": 4, "file": Path("a/b"), "settings": settings}
    assert options_of({"set": {}}, Config, "here") == {}


def test_none_is_a_word_of_text_options():
    assert options_of({"tune": "none"}, Config, "here") == {"tune": "none"}


def test_a_list_is_several_values_where_they_make_a_grid():
    assert options_of({"seed": [1, 2]}, Config, "here") == {"seed": [1, 2]}
    with pytest.raises(UsageError, match=r"^here: seed = \[1, 2\]: not a whole number$"):
        options_of({"seed": [1, 2]}, Config, "here", several=False)
    with pytest.raises(UsageError, match=r"^here: batch-size = \[1, 2\]: not a whole number or auto$"):
        options_of({"batch-size": [1, 2]}, Config, "here")
    assert options_of({"batch-size": "auto"}, Config, "here") == {"batch_size": None}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"nam": "x"}, "unknown key 'nam'; did you mean 'name'?"),
        ({"settings": {}}, "unknown key 'settings'; known: batch_size, flip, name, seed, set, tune"),
        ({"flip": "no"}, "flip = no: not true or false"),
        ({"name": 3}, "name = 3: not text"),
        ({"seed": -1}, "seed = -1: at least 0"),
        ({"set": 3}, "set is a table of parameters, [set]"),
        ({"file": "x"}, "'file' has no place here; say it elsewhere"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(table: dict[str, Any], says: str):
    with pytest.raises(UsageError) as caught:
        options_of(table, Config, "here", elsewhere={"file": "say it elsewhere"})
    assert str(caught.value).startswith(f"here: {says}") and "\n" not in str(caught.value)


def test_what_has_no_default_must_be_there():
    check_complete({"name": "x"}, Config, "here")
    with pytest.raises(UsageError, match=r"^here lacks name$"):
        check_complete({"batch_size": 3}, Config, "here")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^here: No such file"):
        read_table(tmp_path / "absent.toml", "here")
    (tmp_path / "bad.toml").write_text("a = ", encoding="utf-8")
    with pytest.raises(UsageError, match=r"^here is not TOML: "):
        read_table(tmp_path / "bad.toml", "here")
    (tmp_path / "long.toml").write_text(f"a = {'9' * 5000}", encoding="utf-8")  # Python reads no such number
    with pytest.raises(UsageError, match=r"^here is not TOML: "):
        read_table(tmp_path / "long.toml", "here")


def test_tables_in_tables_are_dotted_names():
    assert flattened({"a": {"b": {"c": 1}, "d": 2}, "e.f": 3}) == {"a.b.c": 1, "a.d": 2, "e.f": 3}
