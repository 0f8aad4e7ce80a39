"""The proof that a network gives here what it gave on the workstation, on the bundle's golden pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, ParityError
from edge.network.backbone import Backbone

FP32_TOLERANCE = 1e-3  # largest difference over largest value; 1e-5 is usual
INT8_COSINE = 0.99  # int8 kernels round differently from one processor to the next


@dataclass(frozen=True)
class Parity:
    """How closely embeddings agree with the workstation's: `error` = max |a−b| / max |b|, `cosine` the worst row's."""

    error: float
    cosine: float


def measure_parity(embeddings: NDArray[np.float32], reference: NDArray[np.float32]) -> Parity:
    """Compare embeddings (N, D) with the workstation's own (N, D).

    >>> measure_parity(np.float32([[1, 0], [0, 2]]), np.float32([[1, 0], [0, 1]]))
    Parity(error=1.0, cosine=1.0)
    """
    a, b = embeddings.astype(np.float64), reference.astype(np.float64)
    if a.shape != b.shape:
        raise ParityError(
            "model-differs",
            f"the network gives embeddings of shape {a.shape}, but on the workstation they had shape {b.shape}",
        )
    if not np.isfinite(a).all():
        return Parity(float("inf"), -1.0)
    tiny = np.finfo(np.float64).tiny
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return Parity(
        error=float(np.abs(a - b).max() / max(np.abs(b).max(), tiny)),
        cosine=float(((a * b).sum(1) / np.maximum(norms, tiny)).min()),
    )


def prove(
    backbone: Backbone,
    images: NDArray[np.uint8],
    reference: NDArray[np.float32],
    precision: str,
    name: str,
    model: bytes = b"",
) -> Parity:
    """Run the golden pictures, and refuse a network whose embeddings differ from the workstation's.

    Args:
        images: the golden pictures, uint8 (N, H, W, 3).
        reference: their embeddings by PyTorch on the workstation at full precision, float32 (N, D).
        precision: "fp32" (tolerance `FP32_TOLERANCE`) or "int8" (tolerance `INT8_COSINE`).
        name: name of the model file, for the error.
        model: the file's bytes, to name the tensor that first gives NaN.

    Raises:
        ParityError: the embeddings differ, or are not numbers; the message says by how much, or why.
    """
    if images.shape[1] != backbone.size:
        raise BundleError(
            "model-unsuitable",
            f"{name} takes {backbone.size} pixels per side, but its bundle says {images.shape[1]}; build the "
            "bundle again",
        )
    given = backbone.embed(images)
    wrong = int((~np.isfinite(given)).any(axis=1).sum())
    if wrong:
        raise ParityError(
            "model-not-numbers", _not_numbers(backbone, name, model, f"{wrong} of {len(given)} golden pictures")
        )
    parity = measure_parity(given, reference)
    if precision == "fp32" and not parity.error <= FP32_TOLERANCE:
        raise ParityError(
            "model-differs",
            f"{name} on {backbone.runtime} differs from the workstation by {parity.error:.1e} of the largest "
            f"value, but at most {FP32_TOLERANCE:.0e} is allowed; use another runtime or build the bundle again",
        )
    if precision != "fp32" and not parity.cosine >= INT8_COSINE:
        raise ParityError(
            "model-differs",
            f"{name} on {backbone.runtime} has a cosine similarity of {parity.cosine:.3f} with the "
            f"workstation's embeddings, but at least {INT8_COSINE} is needed; use the fp32 model or another runtime",
        )
    return parity


def _not_numbers(backbone: Backbone, name: str, model: bytes, pictures: str) -> str:
    from edge.modelfile.culprit import culprit  # needed where something is wrong alone

    told = f"{name} on {backbone.runtime} gives values that are not numbers (NaN or infinity) for {pictures}"
    format = "onnx" if backbone.runtime == "onnxruntime" else "tflite"
    tensor = culprit(model, format) or culprit(model, format, np.isinf)
    if tensor:
        return f"{told}: its tensor '{tensor}' contains such values; build the bundle again with other weights"
    return (
        f"{told}, although its weights are numbers: they overflow during the computation; use the fp32 model or "
        "another runtime"
    )
