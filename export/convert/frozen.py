"""A network as the device runs it: exported, opened on a runtime, and measured for embeddings, time and size.

The results of `adapt` and `compare` are measured with this, not with PyTorch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.network.backbone import Backbone, find_runtime, open_backbone
from edge.text import first_line
from export.convert.converters import to_onnx
from export.convert.parity import golden_images
from export.network.embedder import dimension

if TYPE_CHECKING:
    from torch import nn

CHUNK = 16  # pictures a worker takes at a time


@dataclass(frozen=True)
class Frozen:
    """An exported network, opened with one thread. `data` is the ONNX file's bytes."""

    data: bytes
    running: Backbone


def freeze(embedder: nn.Module, size: int) -> Frozen:
    """Export a network for pictures of size × size pixels and open it here.

    Raises:
        BundleError: The network does not accept pictures of this size, or cannot be expressed in ONNX.
        RuntimeMissing: No runtime for ONNX is installed.
    """
    try:
        dimension(embedder, size)
    except Exception as error:  # third-party networks can raise anything
        raise BundleError(
            "conversion-failed",
            f"this network does not accept pictures of {size} × {size} pixels ({first_line(error)}); "
            "choose another --size",
        ) from error
    data = to_onnx(embedder, size)
    return Frozen(data, open_backbone(data, find_runtime({"onnx"}), threads=1))


def embed_pixels(frozen: Frozen, pixels: NDArray[np.uint8], step: Callable[[int, int], None]) -> NDArray[np.float32]:
    """Embed pictures in parallel, one thread per core: uint8 (N, S, S, 3) → float32 (N, D).

    Args:
        pixels: The pictures, prepared as on the device.
        step: Called with (done, total).
    """
    out = np.empty((len(pixels), frozen.running.dimension), np.float32)
    workers = os.cpu_count() or 1
    spare = [frozen.running, *(frozen.running.copy() for _ in range(workers - 1))]

    def work(start: int) -> None:
        network = spare.pop()
        try:
            out[start : start + CHUNK] = network.embed(pixels[start : start + CHUNK])
        finally:
            spare.append(network)

    with ThreadPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(work, range(0, len(pixels), CHUNK)), 1):
            step(min(done * CHUNK, len(pixels)), len(pixels))
    return out


def latency(frozen: Frozen) -> float:
    """Return the milliseconds per picture on one core: the fastest of 20 runs, because load only adds time."""
    picture = golden_images(frozen.running.size, 1)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        frozen.running.embed(picture)
        times.append(time.perf_counter() - began)
    return 1000 * min(times)
