"""Embeddings for the benchmarks: ready features, and the embedded backbone run over the photo sets beside the project.

Everything lies outside the repository (`../shared`); what is absent is skipped with a reason. Embeddings made here are
kept in a cache folder, under the hash of the weights that made them. `site=True` takes every photo as one fixed, badly
placed camera would: tilted, blurred, darker, yellowish.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.picture import preprocess
from edge.picture.find import find

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
LIGHT = np.array([0.5, 0.45, 0.3])  # what is left of red, green and blue at the site


@dataclass(frozen=True)
class Set:
    """One data set's embeddings, raw, with the labels' numbers."""

    name: str
    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def read(path: Path, name: str) -> Set:
    """Read one npz of `X_train y_train X_val y_val`."""
    with np.load(path, allow_pickle=False) as file:
        x, t = file["X_train"].astype(np.float32), file["X_val"].astype(np.float32)
        return Set(name, x, file["y_train"].astype(np.int64), t, file["y_val"].astype(np.int64))


def features() -> list[Set]:
    """Give the ImageNet MobileNetV2 features (1280-d); none if they are absent."""
    return [read(path, f"mobilenet_v2/{path.stem}") for path in sorted((SHARED / "features").glob("*.npz"))]


def embedded(cache: Path, site: bool = False) -> list[Set]:
    """Give the embedded backbone's embeddings (992-d) of every labelled photo set, made once and kept in cache."""
    from export.network.backbones import EMBEDDED_FILE

    made_by = hashlib.sha256(EMBEDDED_FILE.read_bytes()).hexdigest()[:12]
    sets = []
    for folder in sorted(path.parent for path in (SHARED / "data").glob("*/train")):
        path = cache / f"embedded_{made_by}{'_site' if site else ''}_{folder.name}.npz"
        if not path.exists():
            arrays = {}
            for part in ("train", "val"):
                files = find([folder / part]).files
                names = sorted({file.parent.name for file in files})
                arrays[f"X_{part}"] = embed(files, site)
                arrays[f"y_{part}"] = np.array([names.index(file.parent.name) for file in files])
            cache.mkdir(parents=True, exist_ok=True)
            np.savez(path, **arrays)
        sets.append(read(path, f"{'site' if site else 'embedded'}/{folder.name}"))
    return sets


def embed(files: list[Path], site: bool) -> NDArray[np.float32]:
    """Run the package's own backbone over the files: (N, 992)."""
    import torch

    from export.network.backbones import load

    network, take, parts = load("embedded").embedder, at_site if site else preprocess.load, []
    with torch.no_grad():
        for start in range(0, len(files), 32):
            pixels = np.stack([take(file) for file in files[start : start + 32]])
            parts.append(network(torch.from_numpy(pixels)).numpy())
    return np.concatenate(parts)


def at_site(file: Path) -> NDArray[np.uint8]:
    """The pixels of a photo as the badly placed camera would take it; the tilt shows no corner that was not there."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(preprocess.load(file, size=256, short_side=256))
    image = image.rotate(8, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(preprocess.square(image, 224, 256) * LIGHT + 0.5, np.uint8)
