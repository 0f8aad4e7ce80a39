"""Bring your own backbone: an ONNX or TFLite embedding model that was made elsewhere.

Its input must be uint8 (N, S, S, 3), RGB 0–255, its output (N, D) or (N, 1, 1, D). A graph with float input is refused:
the file does not say how to scale pixels, and a wrong guess would give bad results without anybody noticing. There is
no PyTorch network to compare with, so every device is compared with the model's answers on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.head.linear import softmax
from edge.modelfile.culprit import culprit
from edge.modelfile.graft import graft
from edge.modelfile.graft_rules import SMALLEST_NORM
from edge.network.backbone import Backbone, find_runtime, open_backbone
from export.convert.parity import golden_images
from export.network.file_kind import foreign, is_safetensors, torch_zip

_WANTED = "an ONNX or TFLite embedding model (.onnx, .tflite)"
_SAME = 1e-6  # embeddings are equal if they differ by less than this fraction of the largest number
_ADDS_UP = 0.01  # tolerance for the sum of a row of probabilities in half precision
MAX_BYTES = 256_000_000


@dataclass(frozen=True)
class OwnModel:
    """A model file that can serve as a backbone."""

    name: str  # the file's name without its suffix
    data: bytes  # the file's bytes, which go into the bundle unchanged
    format: Literal["onnx", "tflite"]
    precision: str  # `int8` if the file contains integer weights, else `fp32`
    opened: Backbone  # the model, opened on this machine's runtime


def read_own_model(path: Path) -> OwnModel:
    """Read a model file and open it on this machine's runtime.

    Raises:
        BundleError: The file is missing, is neither ONNX nor TFLite, or its input or output is not as described above.
        RuntimeMissing: No runtime for the format is installed.
    """
    if not path.exists():
        raise BundleError("weights-missing", f"model file {path} does not exist; give {_WANTED}")
    is_something_else = foreign(path, _WANTED)
    if is_something_else:
        raise BundleError("model-unsuitable", f"{path.name}: this {is_something_else}")
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(
            "limit-exceeded", f"{path} has {path.stat().st_size:,} bytes, but at most {MAX_BYTES:,} fit into a bundle"
        )
    data = path.read_bytes()
    model_format: Literal["onnx", "tflite"] = "tflite" if data[4:8] == b"TFL3" else "onnx"
    if model_format == "onnx" and path.suffix.lower() != ".onnx":
        weights = torch_zip(path) or is_safetensors(path)
        what = "contains weights without a network: give it with --weights" if weights else f"is not {_WANTED}"
        raise BundleError("model-unsuitable", f"{path.name}: this {what}")
    try:
        opened = open_backbone(data, find_runtime({model_format}), threads=1)
        _check_answers(data, model_format, opened)
        _check_export(data, model_format, opened)
    except BundleError as error:
        raise BundleError(error.code, f"{path.name}: {_said(error)}") from error
    integers = _onnx_integers(data) if model_format == "onnx" else _tflite_integers(data)
    return OwnModel(path.stem, data, model_format, "int8" if integers else "fp32", opened)


def check_embeddings(embeddings: NDArray[np.float32], name: str) -> tuple[str, ...]:
    """Check that a model's outputs distinguish photos and look like embeddings.

    Args:
        embeddings: (N, D) outputs for N photos.

    Returns:
        Warnings, one line each.

    Raises:
        BundleError: The model gives the same numbers for all photos.

    Example:
        >>> check_embeddings(np.float32([[0.9, 0.1], [0.2, 0.8]]), "theirs")[0][:54]
        'theirs gives probabilities (each answer adds up to 1),'
    """
    if len(embeddings) > 1 and np.ptp(embeddings, axis=0).max() <= _SAME * np.abs(embeddings).max():
        raise BundleError(
            "model-unsuitable",
            f"{name} gives the same {embeddings.shape[1]} numbers for every photo, so it cannot distinguish them",
        )
    if embeddings.min() >= 0 and embeddings.shape[1] > 1 and np.abs(embeddings.sum(axis=1) - 1).max() < _ADDS_UP:
        return (
            f"{name} gives probabilities (each answer adds up to 1), as a classifier's last layer does; "
            "the layer before it usually tells new labels apart far better: export the model without its last layers",
        )
    return ()


def _said(error: BundleError) -> str:
    """Return an error's message, with advice for a model that does not come from a bundle."""
    return str(error).replace("build the bundle again", "export it again").replace("use another runtime or ", "")


def _check_answers(data: bytes, model_format: str, opened: Backbone) -> None:
    """Run the model once, and refuse it if the output contains NaN, naming the faulty tensor if possible."""
    images = golden_images(opened.size, count=2)
    answers = opened.embed(images)
    broken = culprit(data, model_format)
    if broken:
        raise BundleError(
            "model-not-numbers",
            f"tensor {broken!r} contains NaN or infinity; export the model again",
        )
    if not np.isfinite(answers).all():
        raise BundleError(
            "model-not-numbers",
            "it gives NaN or infinity for ordinary pictures; fix the model",
        )


def _check_export(data: bytes, model_format: Literal["onnx", "tflite"], opened: Backbone) -> None:
    """Append a head as `edge export` does on the device, and compare, so that problems show up here and not there."""
    images = golden_images(opened.size, count=2)
    weights = np.random.default_rng(0).normal(size=(opened.dimension, 2)).astype(np.float32)
    bias = np.zeros(2, np.float32)
    try:
        whole = graft(data, model_format, weights, bias, ["a", "b"])
        given = open_backbone(whole, find_runtime({model_format}), threads=1).embed(images)
    except BundleError as error:
        raise BundleError("conversion-failed", f"edge export cannot turn it into a classifier: {error}") from error
    rows = opened.embed(images).astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), SMALLEST_NORM)
    if not np.allclose(given, softmax(rows @ weights), atol=1e-3):
        raise BundleError(
            "conversion-failed",
            "edge export cannot turn it into a classifier: with a head added, its results change",
        )


def _onnx_integers(data: bytes) -> bool:
    """Whether an ONNX graph quantizes anything: integer kernels round differently from one processor to the next."""
    import onnx

    graph = onnx.load_from_string(data).graph
    eight_bits = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    return any("Linear" in node.op_type or node.op_type.endswith("Integer") for node in graph.node) or any(
        tensor.data_type in eight_bits for tensor in graph.initializer
    )


def _tflite_integers(data: bytes) -> bool:
    """Whether a TFLite graph holds a quantized tensor (its uint8 input, where only the picture is, has no scale)."""
    from ai_edge_litert.interpreter import Interpreter

    return any(
        len(tensor["quantization_parameters"]["scales"]) > 0
        for tensor in Interpreter(model_content=data).get_tensor_details()
    )
