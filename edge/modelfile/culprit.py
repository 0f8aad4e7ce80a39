"""Finds the tensor in a model file that contains NaN or infinity, to explain NaN in the output. Pure.

Source: field numbers from onnx/onnx.proto, field ids from tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.modelfile.flatbuffer import Reader
from edge.modelfile.protobuf import fields

Wrong: TypeAlias = Callable[[NDArray[Any]], NDArray[np.bool_]]
_Tensor: TypeAlias = tuple[str, bytes, str]  # its name, bytes and numpy type

_ONNX_FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}  # TensorProto.DataType
_TFLITE_FLOATS = {0: "<f4", 1: "<f2", 10: "<f8"}  # TensorType


def culprit(model: bytes, format: str, wrong: Wrong = np.isnan) -> str:
    """Return the name of the first tensor that contains NaN or infinity; "" if there is none.

    Args:
        model: the file's bytes; for a damaged file the result is "".
        format: "onnx" or "tflite".
        wrong: the test for bad values; infinity may be legitimate as a bound of a clip or in a mask.
    """
    try:
        for name, data, kind in _of_onnx(model) if format == "onnx" else _of_tflite(model):
            size = np.dtype(kind).itemsize
            if wrong(np.frombuffer(data, kind, len(data) // size)).any():
                return name
    except BundleError:
        pass
    return ""


def _of_onnx(model: bytes) -> Iterator[_Tensor]:
    graphs = [field.payload for field in fields(memoryview(model)) if field.number == 7]
    for graph in graphs:
        for field in fields(graph):
            if field.number == 5:
                yield from _onnx_tensor(field.payload, "")
            elif field.number == 1:
                parts = list(fields(field.payload))
                name = next((_text(part.payload) for part in parts if part.number == 2), "")
                attributes = [part.payload for part in parts if part.number == 5]
                for value in (value for attribute in attributes for value in fields(attribute) if value.number == 5):
                    yield from _onnx_tensor(value.payload, name)


def _onnx_tensor(tensor: memoryview, name: str) -> Iterator[_Tensor]:
    kind, data = 0, b""
    for field in fields(tensor):
        if field.number == 2:
            kind = field.value
        elif field.number == 8:
            name = name or _text(field.payload)
        elif field.number in (4, 9):  # float_data, raw_data
            data += bytes(field.payload)
    if kind in _ONNX_FLOATS:
        yield name, data, _ONNX_FLOATS[kind]


def _of_tflite(model: bytes) -> Iterator[_Tensor]:
    file = Reader(model, b"TFL3", "TFLite")
    buffers = file.tables(file.root, 4)
    for graph in file.tables(file.root, 2):
        for tensor in file.tables(graph, 0):
            place, kind = file.number(tensor, 2), _TFLITE_FLOATS.get(file.byte(tensor, 1))
            if kind and 0 <= place < len(buffers):
                yield _text(file.raw(tensor, 3)), bytes(file.raw(buffers[place], 0)), kind


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")[:80]
