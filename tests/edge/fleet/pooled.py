"""A fleet's bundle for the tests: the tiny one, its examples said to be of devices."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.bundle import archive
from edge.bundle.archive import Bundle
from edge.head.moments import fixed


def pooled(source: Path, path: Path, devices: Sequence[str], images: Sequence[str] = ()) -> Bundle:
    """Write a bundle whose examples are of the devices in turn, the last of them of the workstation.

    Args:
        source: the bundle whose examples these are.
        path: where to write it.
        devices: ids, sorted.
        images: SHA-256 of the pictures of the first examples; those of the others are made up.
    """
    opened = archive.read(source)
    found = opened.examples()
    n = len(found.labels)
    whose = (np.arange(n) % len(devices)).astype(np.int32)
    whose[-1] = -1
    made = np.random.default_rng(0).integers(1, 256, (n, 32)).astype(np.uint8)
    for row, image in enumerate(images):
        made[row] = np.frombuffer(bytes.fromhex(image), np.uint8)
    made[-1] = 0
    rows = fixed(found.embeddings).astype(np.float32)
    examples = dataclasses.replace(found, embeddings=rows, devices=whose, images=made)
    models = {model.file: opened.entry(model.file) for model in opened.manifest.models}
    manifest = dataclasses.replace(opened.manifest, devices=tuple(devices))
    return archive.write(path, manifest, models, opened.golden(), examples)
