"""Bring your own backbone: an ONNX or TFLite embedding model that was made elsewhere.

It must take one uint8 picture (N, S, S, 3), RGB 0–255, and give (N, D) or (N, 1, 1, D). A graph with float input is
refused: its file does not say how pixels are to be scaled, and a wrong guess would work, badly, without anybody
noticing. There is no PyTorch network behind it, so its own answers here are what every device is compared with.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge.backbone import Backbone, find_runtime, open_backbone
from edge.errors import BundleError
from edge.manifest import MAX_DIMENSION, MAX_SIDE

MAX_BYTES = 256_000_000


@dataclass(frozen=True)
class OwnModel:
    """A model file that a backbone can be.

    Args:
        name: Of the file, without its ending.
        data: Its bytes, which go into the bundle unchanged.
        format: `onnx` or `tflite`.
        precision: `int8` if it holds integer weights, else `fp32`.
        opened: It, running here.
    """

    name: str
    data: bytes
    format: str
    precision: str
    opened: Backbone

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.data).hexdigest()


def read_own_model(path: Path) -> OwnModel:
    """Read a model file and open it on this machine's runtime.

    Raises:
        BundleError: If it is missing, neither ONNX nor TFLite, or takes or gives something else than said above.
        RuntimeMissing: If no runtime for it is installed here.
    """
    if not path.is_file():
        raise BundleError(f"no model file {path}; give --model an ONNX or TFLite file")
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(f"{path} has {path.stat().st_size} bytes, at most {MAX_BYTES} fit into a bundle")
    data = path.read_bytes()
    model_format = "tflite" if data[4:8] == b"TFL3" else "onnx"
    if model_format == "onnx" and path.suffix.lower() != ".onnx":
        raise BundleError(f"{path} is neither an ONNX nor a TFLite file; give --model one of those")
    try:
        opened = open_backbone(data, find_runtime({model_format}), threads=1)
    except BundleError as error:
        raise BundleError(f"{path.name}: {error}") from error
    if opened.size > MAX_SIDE or opened.dimension > MAX_DIMENSION:
        raise BundleError(
            f"{path.name} takes {opened.size} pixels and gives {opened.dimension} numbers; "
            f"at most {MAX_SIDE} and {MAX_DIMENSION} fit into a bundle"
        )
    integers = _onnx_integers(data) if model_format == "onnx" else _tflite_integers(data)
    return OwnModel(path.stem, data, model_format, "int8" if integers else "fp32", opened)


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
