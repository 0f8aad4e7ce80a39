"""Eight-bit forms of a network, and the choice between them by measurement.

Two forms for each format, both still uint8 (N, H, W, 3) in and float32 (N, D) out, both with weights that
export/convert/rounding.py put on their grid:

- *static*: weights and activations are integers, ranges taken from calibration photos (minimum and maximum over all
  of them). In TFLite 1.5 to 2 times faster than fp32. Right for plain ReLU nets, ruinous for squeeze-and-excitation
  with hard-swish (MobileNetV3-Small: 9 dB). What 255 steps cannot tell apart is mostly lost in the first layers, which
  compare pixels with large weights: leaving the first 4 or 8 convolutions float gains 4 to 7 dB and costs 2 % of time.
- *weight-only*: weights are int8 with one scale per output channel, the arithmetic stays float32. A third of the size,
  the speed of fp32, 30 dB or more.

The first static form, from all in integers to 8 convolutions in float, is taken whose worst cosine to fp32 is at least
`STATIC_COSINE` and whose signal-to-noise ratio at least `STATIC_SNR` on photos that did not calibrate it and on the
golden pictures; if none is, weight-only.

    SNR = 10·log10( Σ fp32² / Σ (fp32 − int8)² )   decibels, over all embeddings measured
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.network.backbone import find_runtime, open_backbone
from edge.network.parity import measure_parity
from export.convert.left_float import ACTIVATIONS, Operator, behind, in_front
from export.convert.parity import golden_images
from export.network.quiet import quiet

if TYPE_CHECKING:
    import onnx

STATIC_COSINE = 0.995  # devices require 0.99 (edge.network.parity.INT8_COSINE), and their kernels round differently
STATIC_SNR = 25.0  # dB; about cosine 0.998 on average
FLOAT_STARTS = (0, 4, 8)  # convolutions that stay float: none, a block or two, three or four
MADE, MADE_SEED = 8, 20261129  # generated pictures: the user's alone may not cover all ranges
STATIC_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MUL", "PAD", "CONCATENATION", "MAX_POOL_2D")

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Quantized:
    """An eight-bit network, how it was made, and how close it is to the float network."""

    model: bytes
    method: str  # `static` or `weight-only`
    snr: float  # dB, on pictures that did not calibrate it
    cosine: float  # smallest cosine among those pictures
    static_snr: float | None  # dB of the best static form, even if it was not chosen; None if it could not be made


def quantize(model: bytes, model_format: str, photos: Images, golden: Images) -> Quantized:
    """Make both eight-bit forms of a float32 model and keep the better fit.

    Args:
        model: A file from `to_onnx` or `to_tflite`.
        model_format: `onnx` or `tflite`.
        photos: uint8 (N, H, W, 3), N ≥ 2, the user's photos: every other one is used for calibration, together with
            some generated pictures; the rest are used for measuring.
        golden: uint8 (G, H, W, 3), the pictures that each device is tested with; used only for measuring.

    Returns:
        The static form if it is close enough to fp32 (see the thresholds above), else the weight-only form.
    """
    from export.convert.convolutions import round_onnx, round_tflite

    calibration = np.concatenate([photos[::2], golden_images(photos.shape[1], MADE, MADE_SEED)])
    held_out = np.concatenate([photos[1::2], golden])
    rounded: Callable[[bytes, Images], bytes] = {"onnx": round_onnx, "tflite": round_tflite}[model_format]
    static: Callable[[bytes, Images, int], bytes] = {"onnx": _onnx_static, "tflite": _tflite_static}[model_format]
    weight_only: Callable[[bytes], bytes] = {"onnx": _onnx_weight_only, "tflite": _tflite_weight_only}[model_format]
    reference = _embed(model, model_format, held_out)
    with quiet():
        on_grid = rounded(model, calibration)
    best: float | None = None
    for floats in FLOAT_STARTS:
        try:
            with quiet():
                candidate = static(on_grid, calibration, floats)
            found = _measure(candidate, "static", model_format, held_out, reference)
        except Exception:  # a quantizer can raise anything for an unknown operator; weight-only remains
            break
        if found.cosine >= STATIC_COSINE and found.snr >= STATIC_SNR:
            return found
        best = max(found.snr, best or found.snr)
    with quiet():
        candidate = weight_only(on_grid)
    found = _measure(candidate, "weight-only", model_format, held_out, reference)
    return Quantized(candidate, "weight-only", found.snr, found.cosine, best)


def signal_to_noise(embeddings: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return the power of `reference` (N, D) relative to that of the difference, in dB; infinite if they are equal.

    Example:
        >>> round(signal_to_noise(np.float32([[1.1, 0.0]]), np.float32([[1.0, 0.0]])), 1)
        20.0
    """
    exact = reference.astype(np.float64)
    noise = float(np.square(embeddings - exact).sum())
    return float("inf") if noise == 0 else float(10 * np.log10(max(np.square(exact).sum(), 1e-300) / noise))


def _embed(model: bytes, model_format: str, images: Images) -> NDArray[np.float32]:
    return open_backbone(model, find_runtime({model_format})).embed(images)


def _measure(model: bytes, method: str, model_format: str, images: Images, reference: NDArray[np.float32]) -> Quantized:
    embeddings = _embed(model, model_format, images)
    snr = signal_to_noise(embeddings, reference)
    return Quantized(model, method, snr, measure_parity(embeddings, reference).cosine, snr)


# --- ONNX ------------------------------------------------------------------------------------------------------------


def _onnx_weight_only(model: bytes) -> bytes:
    """Store each layer's weights as int8 with a scale per output channel: w ≈ q·s, s = max|w|/127.

    They are widened by Cast and Mul rather than by DequantizeLinear: ONNX Runtime folds the former into constants
    when it loads the file, and runs at fp32 speed; the latter it keeps for each run (measured: 2.3 × slower).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from export.convert.portable import portable

    proto = onnx.load_from_string(model)
    graph = proto.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    widen = []
    for name in sorted({node.input[1] for node in graph.node if node.op_type in ("Conv", "Gemm")} & weights.keys()):
        weight = numpy_helper.to_array(weights[name])
        largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
        scale = np.maximum(largest / 127, np.finfo(np.float32).tiny).astype(np.float32)
        integers = np.clip(np.round(weight / scale), -127, 127).astype(np.int8)
        graph.initializer.remove(weights[name])
        graph.initializer.append(numpy_helper.from_array(integers, f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        widen.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.wide"], to=TensorProto.FLOAT))
        widen.append(helper.make_node("Mul", [f"{name}.wide", f"{name}.scale"], [name]))
    nodes = [*widen, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return portable(proto.SerializeToString())


def _onnx_static(model: bytes, calibration: Images, floats: int = 0) -> bytes:
    """Quantize to QDQ with uint8 activations and uint8 weights per channel, int8 weights in depthwise convolutions.

    uint8 × uint8 is the one product of matrices that was seen to give the same bits on AVX2, AVX512-VNNI and ARM.
    Depthwise convolutions are no matrix products, and with per-channel uint8 weights ONNX Runtime takes four times as
    long for the whole network (33 ms against 8); that int8 ones give the same bits everywhere was not yet seen.
    """
    import onnx
    from onnx import numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize_qdq
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images: Iterator[Images] = iter(calibration)

        def get_next(self) -> dict[str, Images] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image[None]}

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (Path(folder) / name for name in ("source.onnx", "prepared.onnx", "result.onnx"))
        source.write_bytes(model)
        quant_pre_process(source, prepared)
        graph = onnx.load(prepared).graph
        # MobileNetV3 strays by 8 % on the golden pictures, and further in OpenCV
        if {"HardSwish", "HardSigmoid"} & {node.op_type for node in graph.node}:
            raise ValueError("hard-swish needs finer steps than eight bits give")
        weights = {tensor.name: tensor for tensor in graph.initializer}
        quantize_qdq(
            prepared,
            result,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=["Conv", "Add", *ACTIVATIONS, "Concat", "MaxPool"],
            nodes_to_exclude=[
                *in_front([(node.name, node.op_type) for node in graph.node], floats),
                *(graph.node[row].name for row in behind([_operator(node) for node in graph.node])),
            ],
            extra_options={
                "WeightSymmetric": True,  # one zero point for all channels: the kernel knows no other
                "TensorQuantOverrides": {
                    node.input[1]: _steps(numpy_helper.to_array(weights[node.input[1]]), depthwise=_groups(node) > 1)
                    for node in graph.node
                    if node.op_type == "Conv" and node.input[1] in weights
                },
            },
        )
        return _onnx_weight_only(result.read_bytes())  # of what stayed float: the projection is half of Lite0's file


def _steps(weight: NDArray[np.float32], depthwise: bool) -> list[dict[str, Any]]:
    """Each channel's step: its largest weight over 127, where ONNX Runtime would take 127.5 for uint8."""
    from onnxruntime.quantization import QuantType

    if depthwise:
        return [{"quant_type": QuantType.QInt8, "symmetric": True, "axis": 0}]
    largest = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1) / 127, np.finfo(np.float32).tiny)
    return [{"quant_type": QuantType.QUInt8, "axis": 0, "scale": step, "zero_point": 128} for step in largest]


def _operator(node: onnx.NodeProto) -> Operator:
    return node.op_type, list(node.input), list(node.output)


def _groups(convolution: onnx.NodeProto) -> int:
    return next((int(a.i) for a in convolution.attribute if a.name == "group"), 1)


# --- TFLite ----------------------------------------------------------------------------------------------------------


def _tflite_weight_only(model: bytes) -> bytes:
    """int8 weights with an explicit Dequantize before the operator; measured, it runs at the speed of fp32."""
    from ai_edge_quantizer import quantizer, recipe

    tool = quantizer.Quantizer(model, recipe.weight_only_wi8_afp32())
    return _model_of(tool.quantize(enable_progress_report=False, enable_progress_bar=False))


def _tflite_static(model: bytes, calibration: Images, floats: int = 0) -> bytes:
    """int8 weights and activations in every operator between the normalisation and the last convolution of its way.

    The calibrator's own rule, a moving average of each picture's range, clips most of what it never saw (7 dB); the
    union of all ranges does not.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    recipe = recipe_manager.RecipeManager()
    for operator in STATIC_OPERATORS:
        recipe.add_static_config(
            regex=".*", operation_name=qtyping.TFLOperationName(operator), activation_num_bits=8, weight_num_bits=8
        )
    # what stays float: the projection is half of Lite0's file
    recipe.add_weight_only_config(regex=".*", operation_name=qtyping.TFLOperationName("FULLY_CONNECTED"), num_bits=8)
    interpreter = Interpreter(model_content=model)
    operators = interpreter._get_ops_details()
    names = [interpreter._get_tensor_details(one["outputs"][0], 0)["name"] for one in operators]
    kinds = [one["op_name"] for one in operators]
    ends = behind([(one["op_name"], one["inputs"].tolist(), one["outputs"].tolist()) for one in operators])
    float_ones = {*in_front(list(zip(names, kinds, strict=True)), floats), *(names[row] for row in ends)}
    for name, kind in zip(names, kinds, strict=True):
        if name in float_ones and kind in STATIC_OPERATORS:
            operation = qtyping.TFLOperationName(kind)
            recipe.add_quantization_config(f"^{re.escape(name)};", operation, algorithm_key="no_quantize")
    signature, about = next(iter(interpreter.get_signature_list().items()))
    statistics = calibrator.Calibrator(model, num_threads=2, qsv_update_func=min_max_update)
    statistics.calibrate({signature: [{about["inputs"][0]: image[None]} for image in calibration]}, recipe)
    tool = quantizer.Quantizer(model, recipe.get_quantization_recipe())
    return _model_of(
        tool.quantize(statistics.get_model_qsvs(), enable_progress_report=False, enable_progress_bar=False)
    )


def _model_of(result: Any) -> bytes:
    assert result.quantized_model is not None
    return bytes(result.quantized_model)
