"""Contributions for the tests: what made-up devices were taught, of made-up embeddings."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from edge.fleet.contribution import CHUNK, Part, write
from edge.fleet.header import About


def about(
    labels: Sequence[str],
    counts: Sequence[int],
    dimension: int = 6,
    device: str = "0123456789abcdef" * 2,
    sequence: int = 1,
    held_out: int = 0,
    form: str = "examples",
) -> About:
    return About(
        device, sequence, form, "tiny", "f" * 64, dimension, 32, "crop", None, "ONNX Runtime fp32",
        tuple(labels), tuple(counts), held_out, "2026-11-29T12:00:00+00:00",
    )  # fmt: skip


def parts(n: int, seed: int = 0, dimension: int = 6, labels: int = 3, spread: float = 1.0) -> Iterator[Part]:
    """n examples in parts as they are written; all labels occur if n is enough."""
    random = np.random.default_rng(seed)
    images = sorted(hashlib.sha256(f"{seed} {i}".encode()).digest() for i in range(n))
    for first in range(0, n, CHUNK):
        count = min(CHUNK, n - first)
        yield Part(
            np.frombuffer(b"".join(images[first : first + count]), np.uint8).reshape(count, 32),
            ((np.arange(count) + first) % labels).astype(np.int32),
            random.integers(-1, 5, count).astype(np.int32),
            random.integers(0, 2_000_000_000, count),
            random.random(count) < 0.2,
            (spread * random.normal(size=(count, dimension))).astype(np.float32),
        )


def contribution(n: int, seed: int = 0, dimension: int = 6, labels: Sequence[str] = ("a", "b", "c")) -> bytes:
    """The bytes of a contribution of n examples."""
    made = list(parts(n, seed, dimension, len(labels)))
    every = np.concatenate([part.labels for part in made]) if made else np.zeros(0, np.int32)
    counts = np.bincount(every, minlength=len(labels)).tolist()
    some = [place for place, count in enumerate(counts) if count]
    held_out = sum(int(part.held_out.sum()) for part in made)
    header = about([labels[i] for i in some], [counts[i] for i in some], dimension, held_out=held_out)
    return write(header, made)
