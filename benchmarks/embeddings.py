"""Embeddings for the benchmarks: the default backbone and the small one, run over the photo sets beside the project.

Everything lies outside the repository (`../shared`); what is absent is skipped with a reason. Embeddings made here are
kept in a cache folder, under the hash of the network that made them. `site=True` takes every photo as one fixed, badly
placed camera would: tilted, blurred, darker, yellowish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.picture import preprocess
from edge.picture.find import find
from export.convert.frozen import freeze
from export.network import backbones
from export.network.form import fingerprint, short_side

BACKBONES = (backbones.DEFAULT, "embedded")
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


def photo_sets(name: str, cache: Path, site: bool = False) -> list[Set]:
    """Give a backbone's embeddings of every labelled photo set, made once and kept in cache."""
    sets = []
    for folder in sorted(path.parent for path in (SHARED / "data").glob("*/train")):
        kept = {}
        for part in ("train", "val"):
            files = find([folder / part]).files
            names = sorted({file.parent.name for file in files})
            kept[part] = embed(name, f"{folder.name}_{part}", files, cache, site)
            kept[f"{part} labels"] = np.array([names.index(file.parent.name) for file in files])
        title = f"{name}{', site' if site else ''}/{folder.name}"
        sets.append(Set(title, kept["train"], kept["train labels"], kept["val"], kept["val labels"]))
    return sets


def embed(name: str, what: str, files: Sequence[Path], cache: Path, site: bool = False) -> NDArray[np.float32]:
    """Give a backbone's embeddings (N, D) of photos by the device's runtime, kept in the cache under `what`."""
    loaded, row = network(name), backbones.find(name)
    made_by = fingerprint(loaded.embedder, row.size, crop=row.crop)[:12]
    path = cache / f"{name}_{made_by}{'_site' if site else ''}_{what}.npz"
    if not path.exists():
        running = freeze(loaded.embedder, row.size).running
        side = short_side(row.size, row.crop)
        pixels = (at_site(file) if site else preprocess.load(file, row.size, side) for file in files)
        rows = [running.embed(picture[None])[0] for picture in pixels]
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, X=np.stack(rows))
    with np.load(path, allow_pickle=False) as file:
        embeddings: NDArray[np.float32] = file["X"].astype(np.float32)
        return embeddings


@once
def network(name: str) -> backbones.Loaded:
    """Load a backbone, once."""
    return backbones.load(name)


def at_site(file: Path) -> NDArray[np.uint8]:
    """The pixels of a photo as the badly placed camera would take it; the tilt shows no corner that was not there."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(preprocess.load(file, size=256, short_side=256))
    image = image.rotate(8, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(preprocess.square(image, 224, 256) * LIGHT + 0.5, np.uint8)
