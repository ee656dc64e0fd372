from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fewbench.benchmark.classifier.estimator import FewShotClassifier
from fewbench.core.errors import UsageError

from .conftest import COLOURS, photo

OPTIONS: dict[str, Any] = {"backbone": "conv4", "weights": "conv4-trifeature"}


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    images = np.stack([photo(colour, seed)[:, :40] for colour in COLOURS.values() for seed in range(8)])
    return images, np.repeat(list(COLOURS), 8)


def test_fit_predict_and_probabilities(arrays):
    images, names = arrays
    model = FewShotClassifier(**OPTIONS).fit(images, names)
    assert (model.predict(images) == names).all()
    chances = model.predict_proba(images)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (model.classes_[chances.argmax(axis=1)] == names).all()
    assert list(model.classes_) == sorted(COLOURS)


def test_files_and_labels_of_another_type(photos):
    files = sorted(photos.rglob("*.png"))
    labels = [list(COLOURS).index(path.parent.name) * 10 for path in files]
    model = FewShotClassifier(**OPTIONS).fit(files, labels)
    assert list(model.predict(files)) == labels


def test_clone_pipelines_and_cross_validation(arrays):
    images, names = arrays
    model = FewShotClassifier(method="protonet", **OPTIONS)
    copy = clone(model)
    assert isinstance(copy, FewShotClassifier) and copy.get_params() == model.get_params()
    whole = make_pipeline(FunctionTransformer(validate=False), model)
    assert cross_val_score(whole, images, names, cv=2).mean() == 1


def test_save_and_load(arrays, tmp_path):
    images, names = arrays
    model = FewShotClassifier(**OPTIONS).fit(images, names)
    model.save(tmp_path / "model")
    again = FewShotClassifier.load(tmp_path / "model")
    np.testing.assert_allclose(again.predict_proba(images), model.predict_proba(images), rtol=1e-5)


def test_wrong_arrays_and_lengths_are_one_line(arrays):
    images, names = arrays
    with pytest.raises(UsageError, match="24 photos and 3 labels"):
        FewShotClassifier(**OPTIONS).fit(images, names[:3])
    with pytest.raises(UsageError, match="expected uint8"):
        FewShotClassifier(**OPTIONS).fit(images.astype(float), names)
    with pytest.raises(UsageError, match=r"quantile=1\.5: from 0 to 1"):
        FewShotClassifier(**OPTIONS, quantile=1.5).fit(images, names)
