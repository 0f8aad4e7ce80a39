"""Refuse a TFLite file that is damaged, could run foreign code or never end, by name, before a runtime sees it.

A runtime trusts a file's indices and offsets, and crashes if they are wrong. So all of them are followed here first,
table by table and field by field. A frozen image network is one graph of builtin operators, and the tables here list
everything that it needs. Anything else is refused: custom operators, control flow (which can run graphs for ever),
variables, weights in other files, and anything that later versions of TFLite may add.

This does not show how a runtime behaves with a file that passes: the first run is in a separate process,
edge/network/sandbox.py.

Source: field ids and operator numbers from tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

import math
from collections.abc import Callable, Sequence

from edge.errors import BundleError
from edge.modelfile.flatbuffer import Reader

MAX_TENSOR = 1 << 28  # values of one tensor: 1 GB of float32
MAX_AXES = 8

_IDENTIFIER = b"TFL3"
_CODES, _SUBGRAPHS, _BUFFERS, _METADATA_BUFFERS, _METADATA, _SIGNATURES = 1, 2, 4, 5, 6, 7  # Model
_DEPRECATED_CODE, _CUSTOM_NAME, _, _CODE = range(4)  # OperatorCode
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = range(4)  # SubGraph
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION = range(5)  # Tensor
_SCALE, _ZERO, _DIMENSION = 2, 3, 6  # QuantizationParameters
_OPCODE, _OP_INPUTS, _OP_OUTPUTS, _OPTIONS_TYPE, _OPTIONS = range(5)  # Operator
_DATA, _DATA_OFFSET, _DATA_SIZE = range(3)  # Buffer
_CUSTOM = 32  # BuiltinOperator
_FLOW = {31: "CALL", 51: "DELEGATE", 118: "IF", 119: "WHILE", 129: "CALL_ONCE"} | {
    **{136: "HASHTABLE", 137: "HASHTABLE_FIND", 138: "HASHTABLE_IMPORT", 139: "HASHTABLE_SIZE"},
    **{142: "VAR_HANDLE", 143: "READ_VARIABLE", 144: "ASSIGN_VARIABLE"},
}
_STABLEHLO = 162  # the first StableHLO operator; meant for converters, and hardly any runtime supports them
_OPTIONS_VECTORS = {3: (1, 2), 17: (0,), 30: (0,), 115: (0,)}  # BuiltinOptions: ConcatEmbeddings, Reshape, Squeeze, …

_ONE, _BYTES, _INTS, _LONGS, _OPTIONS_TABLE = "number", "bytes", "int32", "int64", "options"
_ALLOWED: dict[str, dict[int, str]] = {  # the fields of each table; "*": a vector of such tables
    "model": {
        **{0: _ONE, 1: "*operator code", 2: "*graph", 3: _BYTES, 4: "*buffer", 5: _INTS, 6: "*metadata"},
        **{7: "*signature"},
    },
    "operator code": {0: _ONE, 1: _BYTES, 2: _ONE, 3: _ONE},
    "graph": {0: "*tensor", 1: _INTS, 2: _INTS, 3: "*operator", 4: _BYTES, 5: _ONE},
    "tensor": {0: _INTS, 1: _ONE, 2: _ONE, 3: _BYTES, 4: "quantization", 7: _INTS, 8: _ONE},
    "quantization": {0: _INTS, 1: _INTS, 2: _INTS, 3: _LONGS, 6: _ONE},  # floats are as long as int32
    "operator": {0: _ONE, 1: _INTS, 2: _INTS, 3: _ONE, 4: _OPTIONS_TABLE, 6: _ONE, 7: _BYTES, 8: _INTS, 13: _ONE},
    "buffer": {0: _BYTES, 1: _ONE, 2: _ONE},
    "metadata": {0: _BYTES, 1: _ONE},
    "signature": {0: "*tensor name", 1: "*tensor name", 2: _BYTES, 3: _BYTES, 4: _ONE},
    "tensor name": {0: _BYTES, 1: _ONE},
}
_ELSEWHERE = "its weights are in another file; export it as one file"
_QUANTIZED = "its kind of quantization is not supported; quantize it per tensor or per channel"
_CUSTOM_OPTIONS = "one of its operators has options of a custom operator; only builtin operators are allowed"
_FROM_STABLEHLO = "one of its operators is from StableHLO; export it with TFLite's builtin operators"
_REFUSED = {  # refused unless 0 or empty: the kind of field, and the reason
    ("model", 8): ("vector", _ELSEWHERE),
    ("model", 9): ("vector", _ELSEWHERE),
    ("tensor", 10): ("int32", _ELSEWHERE),
    ("tensor", 5): ("byte", "it has variables, which change from picture to picture; export it for inference"),
    ("tensor", 6): ("table", "it has sparse weights, which are not supported; export it with dense ones"),
    ("tensor", 9): ("vector", "it has tensors of several types in one; export it for inference"),
    ("quantization", 4): ("byte", _QUANTIZED),
    ("quantization", 5): ("table", _QUANTIZED),
    ("operator", 5): ("vector", _CUSTOM_OPTIONS),
    ("operator", 9): ("int64", _CUSTOM_OPTIONS),
    ("operator", 10): ("int64", _CUSTOM_OPTIONS),
    ("operator", 11): ("byte", _FROM_STABLEHLO),
    ("operator", 12): ("table", _FROM_STABLEHLO),
}


def check_tflite(model: bytes) -> None:
    """Check a file.

    Raises:
        BundleError: it points beyond its own end, or contains anything that a plain network does not need.
    """
    file = Reader(model, _IDENTIFIER, "TFLite")
    graphs = file.tables(file.root, _SUBGRAPHS)
    if len(graphs) != 1:
        raise BundleError(
            "model-unsafe",
            f"a TFLite backbone must have one graph, but this file has {len(graphs)}; export it without control flow",
        )
    codes = file.tables(file.root, _CODES)
    for code in codes:
        _check_code(file, code)
    check_whole(file, graphs[0])
    tensors = len(file.tables(graphs[0], _TENSORS))
    places = [*file.integers(graphs[0], _INPUTS), *file.integers(graphs[0], _OUTPUTS)]
    for operator in file.tables(graphs[0], _OPERATORS):
        _within("an operator", file.number(operator, _OPCODE), len(codes), "operator codes")
        places += [i for i in file.integers(operator, _OP_INPUTS) if i != -1]  # -1: left out
        places += file.integers(operator, _OP_OUTPUTS)
    for signature in file.tables(file.root, _SIGNATURES):
        _within("a signature", file.number(signature, 4), 1, "graphs")
        places += [file.number(name, 1) for side in (0, 1) for name in file.tables(signature, side)]
    for place in places:
        _within("an operator or a signature", place, tensors, "tensors")


def check_whole(file: Reader, graph: int) -> None:
    """Follow every reference in a file, as a runtime would do unchecked."""
    _walk(file, "model", file.root)
    buffers = file.tables(file.root, _BUFFERS)
    for buffer in buffers:
        if file.long(buffer, _DATA_OFFSET) > 1:  # the schema: 1 or less is none
            file.check(file.long(buffer, _DATA_OFFSET), file.long(buffer, _DATA_SIZE))
    for told in file.tables(file.root, _METADATA):
        _within("its metadata", file.number(told, 1), len(buffers), "buffers")
    for number in file.integers(file.root, _METADATA_BUFFERS):
        _within("its metadata", number, len(buffers), "buffers")
    for tensor in file.tables(graph, _TENSORS):
        shape = file.integers(tensor, _SHAPE)
        if len(shape) > MAX_AXES or min(shape, default=0) < -1 or math.prod(map(abs, shape)) > MAX_TENSOR:
            raise BundleError(
                "model-damaged",
                f"a tensor of shape {shape[: MAX_AXES + 1]} has more than {MAX_TENSOR} values: the file is damaged",
            )
        if not 0 <= file.number(tensor, _BUFFER) < len(buffers):
            raise BundleError(
                "model-damaged",
                f"a tensor is in buffer {file.number(tensor, _BUFFER)} of {len(buffers)}: the file is damaged",
            )
        if quantization := file.reference(tensor, _QUANTIZATION):
            scales = len(file.integers(quantization.position, _SCALE))
            axis = file.number(quantization.position, _DIMENSION)
            if scales > 1 and not (0 <= axis < len(shape) and scales == shape[axis]):
                raise BundleError(
                    "model-damaged",
                    f"a tensor of shape {shape} has {scales} scales along axis {axis}: the file is damaged",
                )


def _walk(file: Reader, kind: str, table: int) -> None:
    """Check all fields of a table, and everything that they refer to."""
    for field in file.present(table):
        inner = _ALLOWED[kind].get(field)
        if inner is None:
            _refuse(file, kind, table, field)
        elif inner == _OPTIONS_TABLE:
            _check_options(file, table)
        elif inner.startswith("*"):
            for one in file.tables(table, field):
                _walk(file, inner[1:], one)
        elif inner in _ALLOWED:
            if found := file.reference(table, field):
                _walk(file, inner, found.position)
        elif inner != _ONE:
            file.vector(table, field, {_BYTES: 1, _INTS: 4, _LONGS: 8}[inner])


def _refuse(file: Reader, kind: str, table: int, field: int) -> None:
    """Refuse a field that is not needed, unless it has its default value."""
    unknown = f"its {kind} has a field {field}, which a plain network does not need; export it for inference"
    what, reason = _REFUSED.get((kind, field), ("table", unknown))
    held: dict[str, Callable[[], int]] = {
        "vector": lambda: file.vector(table, field, 1)[1],
        "byte": lambda: file.byte(table, field),
        "int32": lambda: file.number(table, field),
        "int64": lambda: file.long(table, field),
        "table": lambda: 1,
    }
    if held[what]():
        raise BundleError("model-unsafe", reason)


def _check_options(file: Reader, operator: int) -> None:
    if options := file.reference(operator, _OPTIONS):
        file.present(options.position)
        vectors: Sequence[int] = _OPTIONS_VECTORS.get(file.byte(operator, _OPTIONS_TYPE), ())
        for field in vectors:
            file.integers(options.position, field)


def _within(who: str, number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise BundleError("model-damaged", f"{who} refers to number {number} of {count} {what}: the file is damaged")


def _check_code(file: Reader, code: int) -> None:
    number = max(file.byte(code, _DEPRECATED_CODE), file.number(code, _CODE))
    name = bytes(file.raw(code, _CUSTOM_NAME)).decode("utf-8", "replace")[:80]
    if number == _CUSTOM or name:
        raise BundleError("model-unsafe", f"its operator {name!r} is a custom one; only builtin operators are allowed")
    if number in _FLOW or number >= _STABLEHLO:
        what = _FLOW.get(number, f"number {number} of StableHLO")
        raise BundleError(
            "model-unsafe",
            f"its operator {what} is not allowed; export it without control flow, with TFLite's builtin operators",
        )
