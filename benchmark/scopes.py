"""Whose a parameter is that the user names without a scope: `--set root=photos` is `--set dataset.root=photos`."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.errors import UsageError
from ..core.options import Settings, parameters_of, parse_assignments


def with_scopes(settings: Settings, dataset: str, method: str | None = None) -> Settings:
    """Put `dataset.` before the names without a scope that the dataset has as parameters and the method has not.

    Args:
        settings: values by name, as `--set` has them.
        dataset: its registered name.
        method: the same; None: no other parameter goes without a scope.

    Raises:
        UsageError: an unknown name, or two values of a parameter.
        UserError: a plug-in does not import.
    """
    if all("." in name for name in settings):
        return dict(settings)
    mine = set[str]() if method is None else _parameters("methods", method)
    its = _parameters("datasets", dataset) or set()
    meant = {name for name in its if mine is not None and name not in mine}
    for name in meant & settings.keys():
        if settings.get(scoped := f"dataset.{name}", settings[name]) != settings[name]:
            raise UsageError(f"--set {name}={settings[name]} and {scoped}={settings[scoped]}: take one of them")
    return {f"dataset.{name}" if name in meant else name: value for name, value in settings.items()}


def with_option(settings: Settings, name: str, value: object, option: str) -> Settings:
    """Settings with a parameter that an option of its own sets.

    Raises:
        UsageError: they have another value of it.
    """
    if str(settings.get(name, value)) != str(value):
        raise UsageError(f"{option} {value} and --set {name}={settings[name]}: take one of them")
    return {**settings, name: value}


def of_dataset(assignments: Iterable[str]) -> Settings:
    """The parameters of a dataset from `name=value` or `dataset.name=value`.

    Raises:
        UsageError: a text is of another form.
    """
    return parse_assignments(one.strip().removeprefix("dataset.") for one in assignments)


def _parameters(kind: str, name: str) -> set[str] | None:
    """The names of the parameters of a class; None where it takes others than its fields."""
    from . import registry  # which imports numpy; `bench --help` reads the options of this module's users

    cls = registry.declared(registry.find(kind, name))
    return None if getattr(cls, "open_parameters", "") else {one.name for one in parameters_of(cls)}
