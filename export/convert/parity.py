"""Proves that every exported file gives the same embeddings as PyTorch, with the runtimes that devices use.

Owns the *golden pictures*. They are generated from a seed, so a bundle contains no photograph, but they have a
photograph's statistics (energy falling as 1/frequency, shaded shapes, edges, flat and textured areas), so they exercise
every channel of a network realistically. Their fp32 embeddings go into the bundle, and each device repeats the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.bundle.archive import Golden
from edge.errors import RuntimeMissing
from edge.network.backbone import RUNTIMES, open_backbone
from edge.network.parity import Parity, prove

if TYPE_CHECKING:
    from torch import nn

GOLDEN_COUNT = 4


@dataclass(frozen=True)
class Proof:
    """One file proved on one runtime: the figures of `edge.network.parity.Parity`."""

    file: str
    runtime: str
    parity: Parity


def golden_images(size: int, count: int = GOLDEN_COUNT, seed: int = 0) -> NDArray[np.uint8]:
    """Draw pictures that look like photographs to a network.

    Args:
        size: H = W in pixels.
        count: The number of pictures; each differs in colour, contrast and shapes.
        seed: Random seed; the same seed gives the same pixels.

    Returns:
        uint8 (count, size, size, 3), RGB.

    Example:
        >>> golden_images(32).shape
        (4, 32, 32, 3)
        >>> bool((golden_images(32) == golden_images(32)).all())
        True
    """
    random = np.random.default_rng(seed)
    return np.stack([_picture(size, random) for _ in range(count)])


def embed_with_torch(embedder: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run PyTorch one picture at a time, uint8 (N, H, W, 3) → float32 (N, D): the reference of all proofs."""
    import torch

    with torch.inference_mode():
        return np.concatenate([embedder(torch.from_numpy(image[None].copy())).numpy() for image in images])


def prove_everywhere(model: bytes, file: str, model_format: str, precision: str, golden: Golden) -> list[Proof]:
    """Prove one file on every runtime for its format that works here.

    Args:
        model_format: `onnx` or `tflite`.
        precision: `fp32` (largest difference over largest value ≤ 1e-3) or `int8` (cosine ≥ 0.99).
        golden: pictures with PyTorch's embeddings of them.

    Returns:
        At least one proof.

    Raises:
        ParityError: A runtime's embeddings differ too much; the message says by how much.
        RuntimeMissing: None of the format's runtimes works here.
    """
    proofs: list[Proof] = []
    missing: RuntimeMissing | None = None
    for runtime in (r for r in RUNTIMES if r.format == model_format):
        try:
            backbone = open_backbone(model, runtime)
        except RuntimeMissing as error:
            missing = missing or error
            continue
        proofs.append(
            Proof(file, runtime.name, prove(backbone, golden.images, golden.embeddings, precision, file, model))
        )
    if not proofs:
        raise missing or RuntimeMissing(
            "runtime-missing", f"there is no runtime for {model_format} models; choose another --runtime"
        )
    return proofs


def worst(proofs: list[Proof]) -> Parity:
    """Return the largest error and the smallest cosine of several proofs, for the manifest.

    Example:
        >>> worst([Proof("a", "1", Parity(1e-6, 1.0)), Proof("a", "2", Parity(1e-5, 0.999))])
        Parity(error=1e-05, cosine=0.999)
    """
    return Parity(max(p.parity.error for p in proofs), min(p.parity.cosine for p in proofs))


def _picture(size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a shaded background of coloured 1/f noise with a few shaded discs and boxes in front, some textured."""
    y, x = np.mgrid[0:size, 0:size] / size
    tint, light = random.uniform(0.25, 0.75, 3), random.uniform(-0.35, 0.35, 2)
    picture = tint + (light[0] * (x - 0.5) + light[1] * (y - 0.5))[..., None]
    picture = picture + 0.12 * _noise(size, random)[..., None] + 0.04 * np.stack([_noise(size, random)] * 3, -1)
    for _ in range(int(random.integers(3, 7))):
        cx, cy = random.uniform(0.1, 0.9, 2)
        rx, ry = random.uniform(0.06, 0.3, 2)
        angle = random.uniform(0, np.pi)
        u = ((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) / rx
        v = ((y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)) / ry
        round_shape = random.random() < 0.5
        radius = np.hypot(u, v) if round_shape else np.maximum(np.abs(u), np.abs(v))
        cover = np.clip((1 - radius) * size * min(rx, ry), 0, 1)[..., None]  # one pixel of soft edge
        shade = 1 - 0.35 * np.clip(u + v, -1, 1)
        texture = 0.1 * random.random() * _noise(size, random, falloff=0.5)
        stripes = 0.12 * np.sin(2 * np.pi * u * random.integers(2, 9)) if random.random() < 0.4 else 0.0
        colour = random.uniform(0.05, 0.95, 3) * shade[..., None] + (texture + stripes)[..., None]
        picture = picture * (1 - cover) + colour * cover
    pixels: NDArray[np.uint8] = np.clip(np.round(picture * 255), 0, 255).astype(np.uint8)
    return pixels


def _noise(size: int, random: np.random.Generator, falloff: float = 1.0) -> NDArray[np.float64]:
    """Return noise (size, size) of unit variance whose amplitude falls as 1/frequency^falloff, as in photographs."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    frequency[0, 0] = np.inf  # zero mean
    spectrum = np.fft.rfft2(random.standard_normal((size, size))) / frequency**falloff
    noise = np.fft.irfft2(spectrum, (size, size))
    return np.asarray(noise / noise.std())
