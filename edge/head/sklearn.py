"""The head as a scikit-learn classifier: `HeadClassifier` works wherever scikit-learn takes a classifier.

This is the only module of `edge` that needs scikit-learn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.errors import RuntimeMissing
from edge.head.fit import Examples, fit
from edge.head.linear import softmax, unit

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise RuntimeMissing(
        "library-missing", "HeadClassifier needs scikit-learn 1.6 or newer; run: pip install scikit-learn"
    ) from error


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of embeddings.

    Args:
        method: as in `edge.head.fit`.

    >>> model = HeadClassifier().fit([[1, 0], [3, 1], [0, 2], [1, 3]], ["a", "a", "b", "b"])
    >>> model.predict([[5, 1]]).tolist()
    ['a']
    """

    def __init__(self, method: str = "auto") -> None:
        self.method = method

    def fit(self, X: ArrayLike, y: ArrayLike) -> HeadClassifier:
        """Fit to embeddings X (n, D) and their labels y (n,), names or numbers."""
        rows, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_, columns = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("only one class was given; a classifier needs samples of at least two classes")
        names = tuple(f"{column:08}" for column in columns)
        self.fit_ = fit(Examples(rows.astype(np.float32), names), method=self.method)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return scores (n, C), or for two classes (n,), positive for the second."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities (n, C) of all classes."""
        return softmax(self._scores(X) / self.fit_.head.temperature)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of every row."""
        columns = self._scores(X).argmax(axis=1)  # first, as it says whether there is a fit
        return np.asarray(self.classes_[columns])

    def _scores(self, X: ArrayLike) -> NDArray[np.float64]:
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=np.float64)
        head = self.fit_.head
        return np.asarray(unit(rows).astype(np.float64) @ head.weights.astype(np.float64) + head.bias)
