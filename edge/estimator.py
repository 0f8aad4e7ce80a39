"""The head with scikit-learn's face: `HeadClassifier` fits, predicts, clones and searches like any classifier there.

scikit-learn itself is not imported: what its tools ask for is only looked up where it already runs.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.errors import LabelError, NotEnough
from edge.fit import Examples, fit
from edge.head import softmax, unit


class HeadClassifier:
    """A classifier of embeddings.

    Args:
        method: as in `edge.fit.fit`.

    >>> model = HeadClassifier().fit([[1, 0], [3, 1], [0, 2], [1, 3]], ["a", "a", "b", "b"])
    >>> model.predict([[5, 1]]).tolist()
    ['a']
    """

    _estimator_type = "classifier"

    def __init__(self, method: str = "auto") -> None:
        self.method = method

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the parameters by name."""
        return {"method": self.method}

    def set_params(self, **parameters: Any) -> HeadClassifier:
        """Set parameters by name."""
        for name, value in parameters.items():
            if name != "method":
                raise ValueError(f"HeadClassifier has no parameter {name!r}; it has 'method'")
            setattr(self, name, value)
        return self

    def fit(self, X: ArrayLike, y: ArrayLike) -> HeadClassifier:
        """Fit to rows X (n, D) and their labels y (n,), names or numbers."""
        rows = self._rows(X, "fit")
        if y is None:
            raise LabelError("HeadClassifier requires y to be passed, but the target y is None")
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[1] == 1:
            _warn_of_a_column()
            labels = labels[:, 0]
        if labels.ndim != 1 or len(labels) != len(rows):
            raise LabelError(f"y should be a 1d array with one label for each of {len(rows)} rows, not {labels.shape}")
        if labels.dtype.kind == "f":
            if not np.isfinite(labels).all():
                raise LabelError("Input y contains NaN or infinity; give every row a label")
            if (labels != np.floor(labels)).any():
                raise LabelError("Unknown label type: continuous; y must hold classes")
        self.classes_, columns = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise NotEnough("only one class was given; a classifier needs samples of at least two classes")
        self.n_features_in_ = rows.shape[1]
        names = tuple(f"{column:08}" for column in columns)
        self.fit_ = fit(Examples(rows.astype(np.float32), names), method=self.method)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Score rows: (n, C), or (n,) for two classes, positive for the second."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give every row a probability for every class: (n, C)."""
        return softmax(self._scores(X) / self.fit_.head.temperature)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name the class of every row."""
        scores = self._scores(X)
        return np.asarray(self.classes_[scores.argmax(axis=1)])

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: NDArray[np.float64] | None = None) -> float:
        """Give the accuracy on rows X of labels y."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    def __repr__(self) -> str:
        return f"HeadClassifier(method={self.method!r})"

    def __sklearn_tags__(self) -> Any:
        utils = sys.modules["sklearn.utils"]
        return utils.Tags(
            estimator_type="classifier",
            target_tags=utils.TargetTags(required=True),
            classifier_tags=utils.ClassifierTags(),
            input_tags=utils.InputTags(),
        )

    def _scores(self, X: ArrayLike) -> NDArray[np.float64]:
        if not hasattr(self, "fit_"):
            known = sys.modules.get("sklearn.exceptions")
            raise (known.NotFittedError if known else NotEnough)(
                "this HeadClassifier is not fitted yet; call fit first"
            )
        rows = self._rows(X, "predict")
        if rows.shape[1] != self.n_features_in_:
            expected = f"HeadClassifier is expecting {self.n_features_in_} features as input"
            raise ValueError(f"X has {rows.shape[1]} features, but {expected}")
        head = self.fit_.head
        return np.asarray(unit(rows).astype(np.float64) @ head.weights.astype(np.float64) + head.bias)

    @staticmethod
    def _rows(X: ArrayLike, verb: str) -> NDArray[np.float64]:
        if hasattr(X, "toarray"):
            raise TypeError("sparse input is not supported; use X.toarray()")
        rows = np.asarray(X)
        if rows.dtype.kind == "c":
            raise ValueError("Complex data not supported")
        rows = rows.astype(np.float64)
        if rows.ndim != 2:
            raise ValueError(f"Expected 2D array, got {rows.ndim}D array instead. Reshape your data")
        if not rows.shape[0]:
            raise ValueError(f"Found array with 0 sample(s) (shape={rows.shape}) while a minimum of 1 is required.")
        if not rows.shape[1]:
            raise ValueError(f"Found array with 0 feature(s) (shape={rows.shape}) while a minimum of 1 is required.")
        if not np.isfinite(rows).all():
            raise ValueError(f"Input X contains NaN or infinity; cannot {verb}")
        return rows


def _warn_of_a_column() -> None:
    import warnings

    known = sys.modules.get("sklearn.exceptions")
    category = known.DataConversionWarning if known else UserWarning
    warnings.warn("A column-vector y was passed when a 1d array was expected", category, stacklevel=3)
