"""Made-up devices for the tests: a bundle of the tiny network, a store, and contributions of examples around it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle.archive import Bundle
from edge.fleet.contribution import CHUNK, Part, sha256, write
from edge.fleet.header import About, Serves
from edge.fleet.names import Named
from edge.fleet.remote import Remote
from edge.testing import DIMENSION, INFO, write_bundle, write_photos
from export.fleet.gather import Rules

LABELS = ("brick", "grass", "gravel")
CENTRES = np.random.default_rng(5).normal(size=(len(LABELS), DIMENSION))


def base(folder: Path) -> Path:
    """A bundle of the fake network, of two photos of each label."""
    photos = write_photos(folder / "photos", dict.fromkeys(LABELS, 2))
    return write_bundle(folder / "base.edge", photos)


def rules(bundle: Bundle) -> Rules:
    """Everything counts."""
    return Rules(bundle.manifest.backbone)


def device_id(number: int) -> str:
    """The id of a made-up device."""
    return hashlib.sha256(f"device {number}".encode()).hexdigest()[:32]


def examples(number: int, count: int = 6, turn: int = 0) -> tuple[NDArray[np.float32], list[str]]:
    """Embeddings and labels of a device; `turn` calls each label by another's name."""
    random = np.random.default_rng(number)
    columns = np.arange(count) % len(LABELS)
    rows = CENTRES[columns] + 0.1 * random.normal(size=DIMENSION) + 0.2 * random.normal(size=(count, DIMENSION))
    return rows.astype(np.float32), [LABELS[(column + turn) % len(LABELS)] for column in columns.tolist()]


def contribution(
    number: int,
    rows: NDArray[np.float32],
    labels: Sequence[str],
    sequence: int = 1,
    held_out: int = 0,
    fingerprint: str = INFO.fingerprint,
    serves: Serves | None = None,
) -> tuple[Named, bytes]:
    """A contribution and its name; the last `held_out` examples are held out."""
    images = [hashlib.sha256(f"{number} {i}".encode()).digest() for i in range(len(labels))]
    order = sorted(range(len(labels)), key=images.__getitem__)
    names = sorted(set(labels))
    about = About(
        device_id(number), sequence, "examples", INFO.name, fingerprint, rows.shape[1], INFO.input_size, INFO.fit, None,
        "fake", tuple(names), tuple(list(labels).count(name) for name in names), held_out, "2026-11-24T12:00:00+00:00",
        serves or Serves(),
    )  # fmt: skip
    parts = []
    for first in range(0, len(order), CHUNK):
        some = order[first : first + CHUNK]
        parts.append(
            Part(
                np.array([list(images[i]) for i in some], np.uint8).reshape(-1, 32),
                np.array([names.index(labels[i]) for i in some], np.int32),
                np.full(len(some), -1, np.int32),
                np.zeros(len(some), np.int64),
                np.array([i >= len(labels) - held_out for i in some]),
                rows[some],
            )
        )
    data = write(about, parts)
    return Named(about.device, sequence, sha256(data)), data


def put(remote: Remote, number: int, sequence: int = 1, count: int = 6, turn: int = 0) -> Named:
    """Let a device contribute."""
    rows, labels = examples(number, count, turn)
    name, data = contribution(number, rows, labels, sequence)
    remote.put(str(name), data)
    return name
