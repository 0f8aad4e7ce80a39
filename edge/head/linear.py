"""The head: the linear last layer, its scores and probabilities, and its bytes.

Every fitter returns this one object, so inference never knows which one trained it. With x an embedding as the
backbone gave it::

    u = unit(x)                      (D,)  the same fixed map before every head
    scores = u @ weights + bias      (C,)
    probabilities = softmax(scores / temperature)

Nothing else happens, so a graph of L2 normalisation, one matmul, one addition and one softmax gives the same answer.

Source of the temperature: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.errors import BundleError, LabelError

MAGIC = b"EDGEHEAD"
VERSION = 1
LIMIT = 1 << 16  # neither D nor C is ever larger: set before anything is read
LARGEST = 1e30  # of weights and bias: scores of unit embeddings then stay within float32
COLDEST = 1e-9  # temperature: scores divided by it stay within float64
_CHUNK = 128  # embeddings scaled at a time
_HEADER = np.dtype(
    [("magic", "S8"), ("version", "<u4"), ("features", "<u4"), ("labels", "<u4"), ("names", "<u4"), ("t", "<f8")]
)


def unit(embeddings: ArrayLike) -> NDArray[np.float32]:
    """Scale every embedding to length one: the fixed map before every head.

    A row of zeros stays zero; lengths are summed in float64, so no float32 input can overflow.

    Args:
        embeddings: (N, D) real numbers, as the backbone gave them.

    Returns:
        (N, D) float32, rows of length one.

    Raises:
        BundleError: the input is not a matrix, or a value is not finite.

    >>> unit([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """
    raw = np.asarray(embeddings)
    if raw.ndim != 2:
        raise BundleError(
            "embeddings-mismatch",
            f"embeddings have shape {raw.shape}, expected (examples, features); pass one row for each",
        )
    found = np.empty(raw.shape, np.float32)
    for start in range(0, len(raw), _CHUNK):
        rows = np.ascontiguousarray(raw[start : start + _CHUNK], dtype=np.float64)
        lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        if not np.isfinite(lengths).all():
            row = start + int(np.flatnonzero(~np.isfinite(lengths[:, 0]))[0])
            raise BundleError(
                "embedding-not-numbers",
                f"embedding {row} of {len(raw)} is not finite; to check the backbone, run: edge doctor",
            )
        found[start : start + _CHUNK] = rows / np.where(lengths > 0, lengths, 1.0)
    return found


@dataclass(frozen=True)
class Head:
    """The linear last layer of the network.

    Raises:
        BundleError: the shapes do not fit, or a value is not finite.
        LabelError: a label is empty, repeated or out of order.

    >>> head = Head(("cat", "dog"), np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 0.5)
    >>> head.probabilities([[3.0, 4.0]]).round(3)
    array([[0.401, 0.599]], dtype=float32)
    >>> Head.from_bytes(head.to_bytes()).labels
    ('cat', 'dog')
    """

    labels: tuple[str, ...]  # C distinct names in sorted order
    weights: NDArray[np.float32]  # (D, C) float32
    bias: NDArray[np.float32]  # (C,) float32
    temperature: float  # positive; the larger it is, the less certain the probabilities are

    def __post_init__(self) -> None:
        if not self.labels or list(self.labels) != sorted(set(self.labels)) or "" in self.labels:
            raise LabelError(
                "labels-mismatch", f"the head's labels must be distinct and sorted, not {self.labels!r}"[:200]
            )
        shape, classes = self.weights.shape, len(self.labels)
        if len(shape) != 2 or shape[1] != classes or self.bias.shape != (classes,):
            raise _damaged(f"the head has {classes} labels, but weights {shape} and bias {self.bias.shape}; retrain it")
        if not 1 <= shape[0] <= LIMIT or classes > LIMIT:
            raise _damaged(f"the head has {shape[0]} features and {classes} labels, but the limit is {LIMIT} each")
        if self.weights.dtype != np.float32 or self.bias.dtype != np.float32:
            raise _damaged(f"the head is {self.weights.dtype} and {self.bias.dtype}, expected float32; retrain it")
        if not (np.isfinite(self.weights).all() and np.isfinite(self.bias).all()):
            raise _damaged("the head's weights or bias are not finite; retrain it or roll back")
        if max(np.abs(self.weights).max(), np.abs(self.bias).max()) > LARGEST:
            raise _damaged(f"the head's weights or bias exceed {LARGEST:g}; retrain it or roll back")
        if not (np.isfinite(self.temperature) and self.temperature >= COLDEST):
            raise _damaged(
                f"the head's temperature is {self.temperature}, but must be positive; retrain it or roll back"
            )

    @property
    def features(self) -> int:
        """D, the length of the embeddings this head expects."""
        return int(self.weights.shape[0])

    def scores(self, embeddings: ArrayLike) -> NDArray[np.float32]:
        """Score raw embeddings (N, D) for every label: (N, C) float32, larger is likelier."""
        rows = unit(embeddings)
        if rows.shape[1] != self.features:
            raise BundleError(
                "embeddings-mismatch",
                f"the head expects {self.features} features, but got {rows.shape[1]}; use the backbone with "
                "which it was trained",
            )
        return rows @ self.weights + self.bias

    def probabilities(self, embeddings: ArrayLike) -> NDArray[np.float32]:
        """Return the probability of every label for raw embeddings (N, D): (N, C) float32, rows sum to one."""
        return softmax(self.scores(embeddings).astype(np.float64) / self.temperature).astype(np.float32)

    def to_bytes(self) -> bytes:
        """Write the head as one little-endian block: header, name lengths, names, weights, bias."""
        names = [label.encode() for label in self.labels]
        header = np.zeros((), _HEADER)
        for field, value in zip(
            _HEADER.names or (),
            (MAGIC, VERSION, self.features, len(names), sum(map(len, names)), self.temperature),
            strict=True,
        ):
            header[field] = value
        return b"".join(
            [
                header.tobytes(),
                np.array([len(name) for name in names], "<u4").tobytes(),
                *names,
                self.weights.astype("<f4").tobytes(),
                self.bias.astype("<f4").tobytes(),
            ]
        )

    @classmethod
    def from_bytes(cls, blob: bytes) -> Head:
        """Read a head, checking everything.

        Raises:
            BundleError: the bytes are not a head, of a newer version, too large, truncated, or not finite.
            LabelError: the labels are not valid.
        """
        if len(blob) < _HEADER.itemsize or blob[: len(MAGIC)] != MAGIC:
            raise _damaged(f"the stored head is damaged ({len(blob)} bytes of something else); retrain it or roll back")
        header = np.frombuffer(blob, _HEADER, count=1)[0]
        version, features, classes, named = (int(header[field]) for field in ("version", "features", "labels", "names"))
        if version != VERSION:
            raise BundleError(
                "too-new",
                f"the head has format {version}, but this version reads only {VERSION}; upgrade edge-transfer",
            )
        if not 1 <= features <= LIMIT or not 1 <= classes <= LIMIT or named > classes * 1024:
            raise _damaged(f"the head claims {features} features and {classes} labels, but the limit is {LIMIT} each")
        start = _HEADER.itemsize + 4 * classes
        expected = start + named + 4 * classes * (features + 1)
        if len(blob) != expected:
            raise _damaged(f"the head has {len(blob)} bytes, but its header needs {expected}; it is damaged, roll back")
        lengths = np.frombuffer(blob, "<u4", classes, _HEADER.itemsize).astype(np.int64)
        ends = start + np.cumsum(lengths)
        if int(ends[-1]) != start + named:
            raise _damaged("the head's labels have the wrong length; it is damaged, roll back")
        try:
            labels = tuple(blob[end - n : end].decode() for end, n in zip(ends.tolist(), lengths.tolist(), strict=True))
        except UnicodeDecodeError:
            raise _damaged("the head's labels are not UTF-8; it is damaged, roll back") from None
        numbers = np.frombuffer(blob, "<f4", classes * (features + 1), start + named).astype(np.float32)
        weights = numbers[: features * classes].reshape(features, classes)
        return cls(labels, weights, numbers[features * classes :], float(header["t"]))


def _damaged(message: str) -> BundleError:
    return BundleError("head-damaged", message)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn rows of scores (N, C) into rows of probabilities; safe for scores of any size.

    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
