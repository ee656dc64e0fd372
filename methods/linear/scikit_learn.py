"""Any scikit-learn classifier as a method: one classifier is fitted to the support features of each episode.

Pedregosa et al. 2011, "Scikit-learn: machine learning in Python", Journal of Machine Learning Research 12.

The classifier is named by its path below `sklearn`, such as `linear_model.LogisticRegression`, and its constructor's arguments
are the method's parameters. The scores are log-probabilities, else probabilities, else decision values, else 1 for the
predicted class, whichever the classifier offers first. A classifier that draws random numbers gets a new seed for every
episode.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.errors import FEW_NAMES, UsageError, UserError, did_you_mean
from ...core.options import Settings
from ..base import Episodes, Method

SCHEME = "sklearn:"


@dataclass(frozen=True, init=False)
class ScikitLearnMethod(Method):
    """Any scikit-learn classifier, such as sklearn:linear_model.LogisticRegression, fitted to the support of each episode.

    Attributes:
        path: the class below `sklearn`, such as "neighbors.KNeighborsClassifier".
        values: the arguments of its constructor that are not left at their defaults.
    """

    distribution: ClassVar[str] = "scikit-learn"
    open_parameters: ClassVar[str] = "any argument of the classifier's constructor is a parameter"
    citation: ClassVar[str] = "Pedregosa et al. 2011, Scikit-learn: machine learning in Python, JMLR 12"

    path: str = field(init=False)
    values: Mapping[str, Any] = field(init=False, hash=False)

    def __init__(self, path: str, values: Mapping[str, Any]) -> None:
        """Check the names.

        Args:
            path: the class below `sklearn`, such as "linear_model.LogisticRegression".
            values: constructor's arguments; text is read as a Python literal where it is one ("0.5", "None", "(50,)").

        Raises:
            UserError: scikit-learn is not installed.
            UsageError: there is no such class, the class is not a classifier, or it has no such parameter.
        """
        known = _parameters(_classifier_class(path))
        for name in values:
            if name not in known:
                raise UsageError(f"method {SCHEME}{path} has no parameter '{name}'; {did_you_mean(name, known)}")
        read = {name: _literal(value) if isinstance(value, str) else value for name, value in values.items()}
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "values", read)

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> ScikitLearnMethod:
        """Make the method of the name `sklearn:PATH`.

        Raises:
            UserError, UsageError: as the constructor.
        """
        return cls(name.removeprefix(SCHEME), settings)

    @property
    def parameters(self) -> Settings:
        """The given parameters; all others have scikit-learn's defaults."""
        return dict(self.values)

    @property
    def changed(self) -> list[str]:
        """Names of the given parameters, sorted."""
        return sorted(self.values)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: log-probability, probability or decision value, or 1 for the predicted class; float64.

        Raises:
            UserError: the classifier cannot be fitted to an episode.
        """
        classifier_class = _classifier_class(self.path)
        seeded = "random_state" in _parameters(classifier_class) and self.values.get("random_state") is None
        support, query = (features.detach().cpu().numpy() for features in (episodes.support, episodes.query))
        labels, seeds = episodes.support_labels.cpu().numpy(), episodes.seeds.cpu().numpy()
        scores = np.full((len(episodes), query.shape[1], episodes.ways), -np.inf)
        with warnings.catch_warnings():
            # Warnings about convergence or the logarithm of 0 in each episode would not help the user.
            warnings.simplefilter("ignore")
            for i, present in enumerate(labels >= 0):
                seed = {"random_state": int(seeds[i] % 2**32)} if seeded else {}
                try:
                    classifier = classifier_class(**{**self.values, **seed})
                    classifier.fit(support[i, present], labels[i, present])
                    scores[i][:, classifier.classes_] = _scores(classifier, query[i])
                except Exception as error:  # any error of a classifier is about this data or these values
                    reason = " ".join(str(error).split())
                    raise UserError(f"{SCHEME}{self.path} failed on episode {i} of the batch: {reason}") from error
        return torch.from_numpy(scores).to(episodes.query.device)


def _scores(classifier: Any, query: np.ndarray) -> np.ndarray:
    """Scores [Q, number of classes] in the order of `classes_`."""
    for name in ("predict_log_proba", "predict_proba"):
        if hasattr(classifier, name):
            return getattr(classifier, name)(query)
    if hasattr(classifier, "decision_function"):
        decision = classifier.decision_function(query)
        # For two classes there is only one column, positive for the second.
        return np.stack([-decision, decision], axis=1) if decision.ndim == 1 else decision
    return (classifier.predict(query)[:, None] == classifier.classes_).astype(float)


def _classifier_class(path: str) -> Any:
    """The class at `path` below sklearn.

    Raises:
        UserError: scikit-learn is not installed.
        UsageError: there is no such class, it is not a classifier, or it needs other classifiers.
    """
    try:
        from sklearn.base import ClassifierMixin
    except ImportError as error:
        raise UserError(f"method sklearn:{path} needs scikit-learn: pip install scikit-learn") from error
    module_name, _, class_name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(f"sklearn.{module_name}"), class_name, None) if module_name else None
    except ImportError:
        found = None
    if found is None:
        raise UsageError(f"there is no scikit-learn class '{path}'; {did_you_mean(path, _known_paths(), FEW_NAMES)}")
    if not (inspect.isclass(found) and issubclass(found, ClassifierMixin)):
        raise UsageError(f"'{path}' is no scikit-learn classifier; {did_you_mean(path, _known_paths(), FEW_NAMES)}")
    if required := _required(found):
        raise UsageError(f"'{path}' is made of other classifiers ({', '.join(required)}), which cannot be named as text")
    return found


def _known_paths() -> list[str]:
    """Paths of the classifiers that can be made from text; imports all of scikit-learn."""
    from sklearn.utils import all_estimators

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifiers = all_estimators(type_filter="classifier")
    return [f"{_public_module(found)}.{name}" for name, found in classifiers if not _required(found)]


def _public_module(classifier_class: Any) -> str:
    """The public module of a class below sklearn: "linear_model" for a class of sklearn.linear_model._logistic."""
    _, *parts = classifier_class.__module__.split(".")
    return ".".join(takewhile(lambda part: not part.startswith("_"), parts))


def _parameters(classifier_class: Any) -> Mapping[str, inspect.Parameter]:
    """The constructor's arguments. By scikit-learn's own rule, a constructor names all parameters."""
    return inspect.signature(classifier_class).parameters


def _required(classifier_class: Any) -> list[str]:
    """Names of the arguments without a default: other classifiers that this one consists of."""
    return [name for name, argument in _parameters(classifier_class).items() if argument.default is argument.empty]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
