"""The setting of a run: what it may use besides the support, with the short marks that boards print."""

from __future__ import annotations

from dataclasses import dataclass

from ..records.record import RunRecord

INDUCTIVE, TRANSDUCTIVE, CLASS_NAMES, ZERO_SHOT = SETTINGS = ("inductive", "transductive", "class names", "zero-shot")
TRANSDUCTIVE_MARK, NAMES_MARK, EXTERNAL_MARK = "†", "‡", "§"
MARKS = {
    TRANSDUCTIVE_MARK: "transductive: the queries of an episode are answered together",
    NAMES_MARK: "uses the names of the classes",
    EXTERNAL_MARK: "weights from elsewhere, whose training may have seen the test classes",
}


@dataclass(frozen=True)
class Setting:
    """What a run may use.

    Attributes:
        name: one of `SETTINGS`.
        class_names: whether the method reads the names of the classes.
        external: whether the weights were trained outside this benchmark.
    """

    name: str
    class_names: bool = False
    external: bool = False

    @property
    def marks(self) -> str:
        """The marks of the method."""
        return TRANSDUCTIVE_MARK * (self.name == TRANSDUCTIVE) + NAMES_MARK * self.class_names


def setting_of(record: RunRecord) -> Setting:
    """The setting of a record."""
    method, pretraining = record.method, record.backbone.pretraining
    names = method.uses_class_names or method.text is not None
    few_shot = CLASS_NAMES if names else INDUCTIVE
    name = TRANSDUCTIVE if method.transductive else few_shot if method.uses_support or not names else ZERO_SHOT
    return Setting(name, names, pretraining is not None and pretraining.external)
