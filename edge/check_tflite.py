"""Refuse a TFLite file that is damaged, could run foreign code or never end, by name, before a runtime sees it.

A runtime believes what a file says of itself: it reads at the indices and distances that stand there, and dies where
they lead nowhere. So all of them are followed here first. A frozen image network is one graph of builtin operators:
custom ones, control flow (which runs other graphs, or itself, for ever) and data in other places are not needed.

What a runtime does with a file that passes is not known from this: the first run is in a process of its own,
edge/trial.py.

Source: field ids and operator numbers from tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

import math

from edge.errors import BundleError
from edge.flatbuffer import Reader

MAX_TENSOR = 1 << 28  # values of one tensor: 1 GB of float32
MAX_AXES = 8

_IDENTIFIER = b"TFL3"
_CODES, _SUBGRAPHS, _BUFFERS, _EXTERNAL_GROUPS, _EXTERNAL_BUFFERS = 1, 2, 4, 8, 9  # Model
_DEPRECATED_CODE, _CUSTOM_NAME, _, _CODE = range(4)  # OperatorCode
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = range(4)  # SubGraph
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION = range(5)  # Tensor
_SCALE, _ZERO, _DIMENSION = 2, 3, 6  # QuantizationParameters
_OPCODE, _OP_INPUTS, _OP_OUTPUTS, _, _OPTIONS = range(5)  # Operator
_DATA, _DATA_OFFSET, _DATA_SIZE = range(3)  # Buffer
_CUSTOM = 32  # BuiltinOperator
_FLOW = {31: "CALL", 51: "DELEGATE", 118: "IF", 119: "WHILE", 129: "CALL_ONCE"}
_STABLEHLO = 162  # the first of them; converters' input, of which runtimes run next to none


def check_tflite(model: bytes) -> None:
    """Look through a file.

    Raises:
        BundleError: it points beyond its own end, or has an operator that is no plain builtin one.
    """
    file = Reader(model, _IDENTIFIER, "TFLite")
    graphs = file.tables(file.root, _SUBGRAPHS)
    if len(graphs) != 1:
        raise BundleError(f"a TFLite backbone has one graph, this file {len(graphs)}; export it without control flow")
    if file.tables(file.root, _EXTERNAL_GROUPS) or file.tables(file.root, _EXTERNAL_BUFFERS):
        raise BundleError("it keeps weights in another file; export it as one file")
    codes = file.tables(file.root, _CODES)
    for code in codes:
        _check_code(file, code)
    check_whole(file, graphs[0])
    tensors = len(file.tables(graphs[0], _TENSORS))
    places = [*file.integers(graphs[0], _INPUTS), *file.integers(graphs[0], _OUTPUTS)]
    for operator in file.tables(graphs[0], _OPERATORS):
        if not 0 <= file.number(operator, _OPCODE) < len(codes):
            raise BundleError(f"an operator is number {file.number(operator, _OPCODE)} of {len(codes)}: damaged")
        places += [i for i in file.integers(operator, _OP_INPUTS) if i != -1]  # -1: left out
        places += file.integers(operator, _OP_OUTPUTS)
    for place in places:
        if not 0 <= place < tensors:
            raise BundleError(f"an operator works on tensor {place} of {tensors}: damaged")


def check_whole(file: Reader, graph: int) -> None:
    """Reach for the end of all that lies in tensors, operators and buffers: a runtime would, without looking first."""
    buffers = file.tables(file.root, _BUFFERS)
    for buffer in buffers:
        file.raw(buffer, _DATA)
        if file.long(buffer, _DATA_OFFSET) > 1:  # the schema: 1 or less is none
            file.span(file.long(buffer, _DATA_OFFSET), file.long(buffer, _DATA_SIZE))
    for tensor in file.tables(graph, _TENSORS):
        shape = file.integers(tensor, _SHAPE)
        if len(shape) > MAX_AXES or min(shape, default=0) < -1 or math.prod(map(abs, shape)) > MAX_TENSOR:
            raise BundleError(f"a tensor of shape {shape[: MAX_AXES + 1]} is beyond {MAX_TENSOR} values: damaged")
        if not 0 <= file.number(tensor, _BUFFER) < len(buffers):
            raise BundleError(f"a tensor lies in buffer {file.number(tensor, _BUFFER)} of {len(buffers)}: damaged")
        file.raw(tensor, _NAME)
        if quantization := file.reference(tensor, _QUANTIZATION):
            scales = len(file.integers(quantization.position, _SCALE))
            file.vector(quantization.position, _ZERO, 8)
            axis = file.number(quantization.position, _DIMENSION)
            if scales > 1 and not (0 <= axis < len(shape) and scales == shape[axis]):
                raise BundleError(f"a tensor of shape {shape} has {scales} scales along axis {axis}: damaged")
    for operator in file.tables(graph, _OPERATORS):
        file.integers(operator, _OP_INPUTS), file.integers(operator, _OP_OUTPUTS)
        if options := file.reference(operator, _OPTIONS):
            file.slot(options.position, 0)


def _check_code(file: Reader, code: int) -> None:
    number = max(file.byte(code, _DEPRECATED_CODE), file.number(code, _CODE))
    name = bytes(file.raw(code, _CUSTOM_NAME)).decode("utf-8", "replace")[:80]
    if number == _CUSTOM or name:
        raise BundleError(f"its operator {name!r} is a custom one; only builtin ones are run")
    if number in _FLOW or number >= _STABLEHLO:
        what = _FLOW.get(number, f"number {number}, of StableHLO")
        raise BundleError(f"its operator {what} is not run here; export it without control flow, as TFLite builtins")
