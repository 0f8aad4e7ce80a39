"""The gate: is a picture like anything taught here, or unknown?

With u an embedding of length one, m and Σ the mean and covariance of generic photos' embeddings (the *background*; Σ
within the kinds of things that they show, if these are known), and t = tr Σ / D::

    z = unit(W (u − m))               W = (Σ + s t I)^−½, s = 1: directions in which everything varies count little
    similarity = max_p z · z̄_p        z̄_p the unit mean of the z of one label from one origin (factory, or here)

A picture is unknown if its similarity is below a threshold, which edge/unknown/fit_gate.py sets from the examples.

Σ is stored as its largest eigenvectors and one value for all the rest, so that a picture costs R × D multiplications.

Source: Hariharan, Malik, Ramanan, "Discriminative decorrelation for clustering and classification", ECCV 2012.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.head.linear import unit
from edge.head.matrix import Matrix

COVERAGE = 0.95
RANK = 128
SHRINKAGE = 1.0  # s
KNOTS = 21  # left-out similarities of each label are kept as that many quantiles, for the drift
_STEPS = np.linspace(0, 1, KNOTS)

_CHUNK = 512  # embeddings whitened at a time
_MAGIC = b"EDGEGATE"
_HEADER = struct.Struct("<8sIIId16s")  # magic, prototypes, features, labels, coverage, background
_LARGEST = 1 << 16


@dataclass(frozen=True)
class Background:
    """What embeddings of generic pictures are like.

    >>> rows = np.random.default_rng(0).random((50, 4))
    >>> Background.of(rows, rank=2).basis.shape
    (2, 4)
    """

    mean: NDArray[np.float32]  # (D,) float32, of embeddings of length one
    basis: NDArray[np.float16]  # (R, D) float16, rows the eigenvectors of the largest eigenvalues of their covariance
    values: NDArray[np.float32]  # (R,) float32, these eigenvalues
    rest: float  # the mean of all other eigenvalues

    @classmethod
    def of(cls, embeddings: NDArray[np.float32], kinds: Sequence[str] = (), rank: int = RANK) -> Background:
        """Take the statistics of raw embeddings (N, D).

        Args:
            embeddings: of generic pictures.
            kinds: what each one shows, if known. The covariance is then that within the kinds: how pictures of one
                thing differ is what should count little. Measured: a third fewer random pictures slip through.
            rank: how many eigenvectors to keep.
        """
        rows = unit(embeddings).astype(np.float64)
        mean = rows.mean(axis=0)
        names, place = np.unique(np.asarray(kinds) if len(kinds) else np.zeros(len(rows)), return_inverse=True)
        sums = np.zeros((len(names), rows.shape[1]))
        np.add.at(sums, place.ravel(), rows)
        rows -= (sums / np.bincount(place.ravel())[:, None])[place.ravel()]
        values, vectors = np.linalg.eigh(rows.T @ rows / max(len(rows) - len(names), 1))
        rank = min(rank, len(values) - 1)
        basis = vectors.T[len(values) - rank :]
        basis = basis * np.where(basis[np.arange(rank), np.abs(basis).argmax(axis=1)] < 0, -1, 1)[:, None]
        rest = float(np.float32(max(values[: len(values) - rank].mean(), 0)))  # as a bundle holds it
        return cls(
            mean.astype(np.float32), basis.astype(np.float16), np.maximum(values[-rank:], 0).astype(np.float32), rest
        )

    @classmethod
    def none(cls, dimension: int) -> Background:
        """Stand in where nothing is known: z is then the embedding itself.

        Measured: whitening by the taught pictures themselves, about their mean or about 0, does worse than this.
        """
        empty = np.zeros((0, dimension), np.float16)
        return cls(np.zeros(dimension, np.float32), empty, np.zeros(0, np.float32), 1.0)

    def digest(self) -> bytes:
        """Sixteen bytes by which a gate knows its background again."""
        parts = (self.mean, self.basis, self.values, np.array(self.rest))
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).digest()[:16]

    def white(self) -> White:
        """Give the map from embeddings to z."""
        dimension = len(self.mean)
        shrunk = SHRINKAGE * (float(self.values.sum()) + self.rest * (dimension - len(self.values))) / dimension
        rest = (self.rest + shrunk) ** -0.5
        gains = ((self.values + shrunk) ** -0.5 / rest - 1).astype(np.float32)  # W ∝ I + basisᵀ gains basis
        return White(self.mean, self.basis.astype(np.float32), gains)


@dataclass(frozen=True)
class White:
    """z = unit((I + basisᵀ diag(gains) basis) (u − mean))."""

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    gains: NDArray[np.float32]

    def __call__(self, embeddings: NDArray[np.float32] | Matrix) -> NDArray[np.float32]:
        """Whiten raw embeddings: (N, D) → (N, D) float32 of length one."""
        white = np.empty(embeddings.shape, np.float32)
        for start in range(0, len(embeddings), _CHUNK):
            centred = unit(embeddings[start : start + _CHUNK]) - self.mean
            white[start : start + _CHUNK] = unit(centred + (centred @ self.basis.T * self.gains) @ self.basis)
        return white


@dataclass(frozen=True)
class Gate:
    """What a home needs to tell known from unknown."""

    prototypes: NDArray[np.float16]  # (P, D) float16, unit means of z
    measured: NDArray[np.bool_]  # (C,) whether each label of the head, in its order, has enough examples to be judged
    quantiles: NDArray[np.float32]  # (C, KNOTS) float32, ascending, of each label's left-out similarities
    threshold: float  # similarities below it are unknown; −inf keeps all
    coverage: float  # the share of known pictures that is meant to be kept
    background: bytes  # digest of the background it was fitted with

    def reordered(self, order: Sequence[int]) -> Gate:
        """Follow a head whose labels came into another order."""
        return replace(self, measured=self.measured[list(order)], quantiles=self.quantiles[list(order)])

    def to_bytes(self) -> bytes:
        """Write it as one little-endian block."""
        count, features = self.prototypes.shape
        header = _HEADER.pack(_MAGIC, count, features, len(self.measured), self.coverage, self.background)
        arrays = (self.measured.astype("u1"), self.quantiles.astype("<f4"), self.prototypes.astype("<f2"))
        return header + struct.pack("<d", self.threshold) + b"".join(array.tobytes() for array in arrays)

    @classmethod
    def from_bytes(cls, blob: bytes) -> Gate:
        """Read it back, believing nothing.

        Raises:
            BundleError: these bytes are no gate.
        """
        if len(blob) < _HEADER.size + 8 or blob[:8] != _MAGIC:
            raise BundleError(
                "head-damaged", f"the stored gate is damaged ({len(blob)} bytes of something else); run: edge retrain"
            )
        _, count, features, labels, coverage, background = _HEADER.unpack_from(blob)
        at = _HEADER.size + 8
        expected = at + labels * (1 + 4 * KNOTS) + 2 * count * features
        if max(count, features, labels) > _LARGEST or len(blob) != expected:
            raise BundleError(
                "head-damaged",
                f"the stored gate has {len(blob)} bytes, but its header needs {expected}; run: edge retrain",
            )
        (threshold,) = struct.unpack_from("<d", blob, _HEADER.size)
        measured = np.frombuffer(blob, "u1", labels, at).astype(np.bool_)
        quantiles = np.frombuffer(blob, "<f4", labels * KNOTS, at + labels).astype(np.float32).reshape(labels, KNOTS)
        prototypes = np.frombuffer(blob, "<f2", count * features, at + labels * (1 + 4 * KNOTS))
        finite = np.isfinite(prototypes).all() and np.isfinite(quantiles).all() and (np.diff(quantiles) >= 0).all()
        if not (finite and count and threshold < np.inf and 0 < coverage <= 1):
            raise BundleError("head-damaged", "the stored gate contains impossible values; run: edge retrain")
        return cls(prototypes.reshape(count, features), measured, quantiles, threshold, coverage, background)


class Detector:
    """Decides whether pictures are unknown, by a gate; everything that does not depend on the picture is computed
    once."""

    def __init__(self, gate: Gate, background: Background) -> None:
        self.gate = gate
        self._white = background.white()
        prototypes = gate.prototypes.astype(np.float32)
        self._mean, self._basis = self._white.mean, self._white.basis
        self._stretch = self._white.gains * (2 + self._white.gains)
        inside = (self._white.gains[:, None] * (self._basis @ prototypes.T)).T  # (P, R)
        self._prototypes = prototypes + inside @ self._basis  # W z̄: W is symmetric

    def similarity(self, embedding: NDArray[np.float32]) -> float:
        """Give the similarity of one raw embedding (D,) to the nearest prototype, in [−1, 1]."""
        centred = embedding / max(float(np.sqrt(np.vdot(embedding, embedding))), 1e-12) - self._mean
        inside = self._basis @ centred
        length = np.vdot(centred, centred) + np.vdot(inside * self._stretch, inside)
        return float((self._prototypes @ centred).max() / np.sqrt(max(float(length), 1e-12)))

    def unknown(self, similarity: float, column: int) -> bool | None:
        """Say whether a picture is unknown; None where the label that the head gives it has too few examples."""
        return bool(similarity < self.gate.threshold) if self.gate.measured[column] else None

    def rank(self, similarity: float, column: int) -> float:
        """Give the share of taught pictures of a label that, left out, were less similar: 0.5 is usual."""
        return float(np.interp(similarity, self.gate.quantiles[column], _STEPS))
