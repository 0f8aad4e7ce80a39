"""The convolutions of an exported file: records their inputs for photos, and rounds their weights in place.

Only weights and biases used by a single convolution are changed; the graph stays the same. Both formats are brought to
the same shapes: maps (H, W, C), weights (O, I, h, w).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.convert.rounding import Inputs, Shape, round_weights

if TYPE_CHECKING:
    import onnx

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Convolution:
    """One layer: its input's name or number, its shape, weights (O, I, h, w), and bias (O,) if no other layer uses it.

    The two arrays are views of the file: writing to them changes the file.
    """

    source: Any
    shape: Shape
    weight: Floats
    bias: Floats | None


def round_onnx(model: bytes, photos: Images) -> bytes:
    """Round the weights of an ONNX file's convolutions to eight bits.

    Args:
        model: A file from `to_onnx`.
        photos: uint8 (N, H, W, 3), N ≥ 1, like those that the network will see.

    Returns:
        The file with changed float32 weights and biases, which 255 steps per output channel represent exactly.
    """
    import onnx
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    proto = onnx.load_from_string(model)
    arrays = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in proto.graph.initializer}
    found = list(_in_onnx(proto.graph, arrays))
    names = sorted({one.source for one in found})
    watched = onnx.load_from_string(model)
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])

    def look(photo: Images) -> dict[Any, Floats]:
        maps = session.run(names, {"image": photo[None]}) if names else []
        return {name: one[0].transpose(1, 2, 0) for name, one in zip(names, maps, strict=True)}

    _round(found, map(look, photos))
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    return bytes(proto.SerializeToString())


def round_tflite(model: bytes, photos: Images) -> bytes:
    """Round the weights of a TFLite file's convolutions to eight bits, as `round_onnx` does."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    data = bytearray(model)
    found = list(_in_tflite(data))
    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,  # others keep no tensors
    )
    interpreter.allocate_tensors()

    def look(photo: Images) -> dict[Any, Floats]:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], photo[None])
        interpreter.invoke()
        return {one.source: interpreter.get_tensor(one.source)[0] for one in found}

    _round(found, map(look, photos))
    return bytes(data)


def _round(found: list[_Convolution], seen: Iterable[dict[Any, Floats]]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # thousands of small products: on a busy machine, multithreading takes ten times as long
    try:
        inputs = [Inputs(one.shape, one.weight.shape[1], one.weight.shape[2:]) for one in found]
        for maps in seen:
            for one, sums in zip(found, inputs, strict=True):
                sums.add(torch.from_numpy(maps[one.source]))
        for one, sums in zip(found, inputs, strict=True):
            bias = None if one.bias is None else torch.tensor(one.bias)
            weight, shift = round_weights(torch.tensor(one.weight), bias, sums, one.shape.groups)
            one.weight[:] = weight.numpy()
            if one.bias is not None:
                one.bias[:] += shift.numpy()
    finally:
        torch.set_num_threads(threads)


def _in_onnx(graph: onnx.GraphProto, arrays: dict[str, Any]) -> Iterator[_Convolution]:
    uses = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        weight, bias = (arrays.get(name) if uses[name] == 1 else None for name in (*node.input, "")[1:3])
        given: dict[str, Any] = {one.name: tuple(one.ints) or one.i for one in node.attribute}
        if weight is not None and weight.ndim == 4 and "auto_pad" not in given:
            shape = Shape(
                given.get("group", 1),
                given.get("strides", (1, 1)),
                given.get("dilations", (1, 1)),
                given.get("pads", (0, 0, 0, 0)),
            )
            yield _Convolution(node.input[0], shape, weight, bias)


def _in_tflite(data: bytearray) -> Iterator[_Convolution]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
    tensors = [graph.Tensors(number) for number in range(graph.TensorsLength())]
    uses = Counter(tensors[number].Buffer() for one in operators for number in one.InputsAsNumpy() if number >= 0)

    def own(number: int) -> Any:
        """Return a view of a constant's numbers in the file; None if other layers use them, or there are none."""
        buffer = tensors[number].Buffer()
        if number < 0 or uses[buffer] != 1 or not model.Buffers(buffer).DataLength():
            return None
        return model.Buffers(buffer).DataAsNumpy().view(np.float32).reshape(tensors[number].ShapeAsNumpy())

    for one in operators:
        kind = model.OperatorCodes(one.OpcodeIndex()).BuiltinCode()
        if kind not in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D):
            continue
        is_dense = kind == schema.BuiltinOperator.CONV_2D
        source, kernel, bias = (*one.InputsAsNumpy().tolist(), -1)[:3]
        weight = own(kernel)
        if weight is None:
            continue
        weight = weight.transpose((0, 3, 1, 2) if is_dense else (3, 0, 1, 2))
        options = schema.Conv2DOptions() if is_dense else schema.DepthwiseConv2DOptions()
        options.Init(one.BuiltinOptions().Bytes, one.BuiltinOptions().Pos)
        strides, steps = (options.StrideH(), options.StrideW()), (options.DilationHFactor(), options.DilationWFactor())
        size, channels = tensors[source].ShapeAsNumpy()[1:3].tolist(), int(tensors[source].ShapeAsNumpy()[3])
        pads = (0, 0, 0, 0)
        if options.Padding() == schema.Padding.SAME:
            rows, columns = (_same(*axis) for axis in zip(size, weight.shape[2:], strides, steps, strict=True))
            pads = (rows[0], columns[0], rows[1], columns[1])
        yield _Convolution(source, Shape(channels // weight.shape[1], strides, steps, pads), weight, own(bias))


def _same(size: int, kernel: int, stride: int, step: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding, before and after.

    Example:
        >>> _same(224, 3, 2, 1)
        (0, 1)
    """
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * step + 1 - size, 0)
    return total // 2, total - total // 2
