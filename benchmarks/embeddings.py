"""Embeddings for the benchmarks: precomputed features, and our own backbone run over the photo sets beside the project.

Everything lies outside the repository (`../shared`); what is absent is skipped with a reason. Embeddings made here are
kept in a cache folder. `site=True` takes every photo as one fixed, badly placed camera would: darker, yellowish,
blurred and tilted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
SIZE = 224


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
    return [read(path, f"v2/{path.stem}") for path in sorted((SHARED / "features").glob("*.npz"))]


def embedded(cache: Path, site: bool = False) -> list[Set]:
    """Give the embedded backbone's embeddings (576-d) of every labelled photo set, made once and kept in cache."""
    folders = [folder for folder in sorted((SHARED / "data").glob("*")) if (folder / "train").is_dir()]
    sets = []
    for folder in folders:
        path = cache / f"embedded_v0_{SIZE}{'_site' if site else ''}_{folder.name}.npz"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            arrays = {}
            for part in ("train", "val"):
                files = sorted(file for file in (folder / part).rglob("*") if file.suffix.lower() in (".jpg", ".png"))
                names = sorted({file.parent.name for file in files})
                arrays[f"X_{part}"] = embed(files, site)
                arrays[f"y_{part}"] = np.array([names.index(file.parent.name) for file in files])
            np.savez(path, **arrays)
        sets.append(read(path, f"{'site' if site else 'v0'}/{folder.name}"))
    return sets


def embed(files: list[Path], site: bool) -> NDArray[np.float32]:
    """Run `features` of mobilenet_v3_small with our own weights over the files: (N, 576)."""
    import torch

    ops = torch.library.Library("torchvision", "FRAGMENT")  # the wheel's compiled ops do not load beside CPU torch
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            ops.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from safetensors.torch import load_file
    from torchvision.models import mobilenet_v3_small

    network = mobilenet_v3_small().eval()
    weights = load_file(SHARED / "weights" / "embedded_v0.safetensors")
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()}, strict=False)
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    parts = []
    with torch.no_grad():
        for start in range(0, len(files), 32):
            pixels = np.stack([photo(file, site) for file in files[start : start + 32]])
            batch = torch.from_numpy((pixels - mean) / std).permute(0, 3, 1, 2)
            parts.append(network.features(batch).mean((2, 3)).numpy())
    return np.concatenate(parts)


def photo(file: Path, site: bool) -> NDArray[np.float32]:
    """(SIZE, SIZE, 3) in [0, 1]: short side ×8/7, centre crop."""
    from PIL import Image, ImageFilter

    with Image.open(file) as opened:
        image = opened.convert("RGB")
    scale = SIZE * 8 / 7 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    if site:
        image = image.rotate(8, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(1.5))
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), np.float32) / 255
    return pixels * np.array([0.5, 0.45, 0.3], np.float32) if site else pixels
