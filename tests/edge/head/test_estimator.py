"""The head with scikit-learn's face passes scikit-learn's own checks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from edge.head.sklearn import HeadClassifier


def test_it_passes_every_check_of_scikit_learn() -> None:
    from sklearn.utils import estimator_checks as checks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        failed = [
            f"{result['check_name']}: {result['exception']}"
            for result in checks.check_estimator(HeadClassifier(), on_fail=None, on_skip=None)
            if result["status"] == "failed"
        ]
    assert not failed, "\n".join(failed)


def test_labels_keep_their_kind_and_probabilities_their_order() -> None:
    model = HeadClassifier().fit(np.eye(4), [7, 7, 3, 3])
    assert model.predict(np.eye(4)).tolist() == [7, 7, 3, 3]
    assert model.classes_.tolist() == [3, 7]
    assert np.allclose(model.predict_proba(np.eye(4)).sum(axis=1), 1)


def test_a_search_over_methods_runs() -> None:
    from sklearn import model_selection as selection

    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = rng.normal(size=(60, 8)) + 3 * rng.normal(size=(3, 8))[y]
    search = selection.GridSearchCV(HeadClassifier(), {"method": ["lda", "nearest-mean"]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.8
