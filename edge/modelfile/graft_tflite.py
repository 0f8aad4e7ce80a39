"""Add a head to a TFLite file by writing in front of it, without the flatbuffers package.

Owns the few facts of TFLite's schema that this takes: `flatbuffer` writes a new root, new vectors and new tables in
front of the backbone, and they point on into its untouched bytes. The new vectors of operator codes, buffers, tensors
and operators list the backbone's items first, so every index in it stays right; the graph's output is the head's, and
so is the output of its signature (the one that `get_signature_runner()` runs), which is made where there is none.

Labels follow TFLite Metadata's convention for associated files: a zip appended to the model, which loaders ignore, and
whose list the model's own metadata names.

Source: field ids, operator and option numbers from tensorflow/compiler/mlir/lite/schema/schema.fbs; operators'
versions from tensorflow/lite/tools/versioning/op_version.cc.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.modelfile.check_tflite import check_whole
from edge.modelfile.flatbuffer import Long, Old, Reader, Value, prefix
from edge.modelfile.graft_metadata import METADATA, metadata
from edge.modelfile.graft_rules import OUTPUT, check_dimension

LABELS_FILE = "labels.txt"
"""Name of the list of labels, one per line, in the zip behind the model."""

_IDENTIFIER = b"TFL3"
_NO_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold: the same labels give the same bytes
_UNIX = 3

_VERSION, _CODES, _SUBGRAPHS, _DESCRIPTION, _BUFFERS, _METADATA_BUFFERS, _METADATA, _SIGNATURES = range(8)  # Model
_EXTERNAL_BUFFERS = 9  # Model, too
_DEPRECATED_CODE, _CUSTOM_CODE, _CODE_VERSION, _CODE = range(4)  # OperatorCode
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS, _GRAPH_NAME = range(5)  # SubGraph
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION, _SHAPE_SIGNATURE, _HAS_RANK = 0, 1, 2, 3, 4, 7, 8  # Tensor
_OPCODE, _OP_INPUTS, _OP_OUTPUTS, _OPTIONS_TYPE, _OPTIONS, _LARGE_OPTIONS = 0, 1, 2, 3, 4, 9  # Operator
_DATA, _DATA_OFFSET, _DATA_SIZE = 0, 1, 2  # Buffer
_ENTRY_NAME, _ENTRY_BUFFER = 0, 1  # Metadata
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _SIGNATURE_KEY, _SIGNATURE_GRAPH = 0, 1, 2, 4  # SignatureDef
_MAP_NAME, _MAP_TENSOR = 0, 1  # TensorMap
_SOFTMAX_BETA = 0  # SoftmaxOptions
_NEW_SHAPE = 0  # ReshapeOptions
_FREE = -1  # an axis of a shape_signature, or of RESHAPE's target, that is as long as it turns out to be
_FLOAT32, _INT32, _UINT8, _INT8 = 0, 2, 3, 9  # TensorType
_LARGEST_OLD_CODE = 127  # an int8 field says "look at builtin_code"
_DEFAULT_SIGNATURE, _DEFAULT_INPUT = "serving_default", "image"


@dataclass(frozen=True)
class _Op:
    """A builtin operator: its code, and the type of its options in the union BuiltinOptions."""

    code: int
    options: int = field(compare=False)
    version: int = 1


_FULLY_CONNECTED, _L2_NORMALIZATION, _SOFTMAX, _RESHAPE = _Op(9, 8), _Op(11, 12), _Op(25, 9), _Op(22, 17)
_DEQUANTIZE = {_UINT8: _Op(6, 38), _INT8: _Op(6, 38, version=2)}


def graft_tflite(backbone: bytes, weights: NDArray[Any], bias: NDArray[Any], labels: Sequence[str]) -> bytes:
    """Return the backbone's TFLite file with the head added; see graft.py, which checks the arguments."""
    old = Reader(backbone, _IDENTIFIER, "TFLite")
    graphs = old.tables(old.root, _SUBGRAPHS)
    if not graphs:
        raise BundleError("model-damaged", "the TFLite file has no graph: it is damaged; build the bundle again")
    graph = graphs[0]
    inputs, outputs = old.integers(graph, _INPUTS), old.integers(graph, _OUTPUTS)
    if len(inputs) != 1 or len(outputs) != 1:
        raise BundleError(
            "model-unsuitable",
            f"a backbone must have one input and one output, but this file has {len(inputs)} and {len(outputs)}",
        )
    outside = any(old.slot(operator, _LARGE_OPTIONS) for operator in old.tables(graph, _OPERATORS))
    if outside or old.tables(old.root, _EXTERNAL_BUFFERS):
        raise BundleError(
            "model-unsuitable",
            "the backbone stores options or data outside its tables, as files over 2 GB do: build a smaller one",
        )
    check_whole(old, graph)
    head = _Head(old, graph)
    probabilities = _add_head(head, outputs[0], weights, bias)
    # the backbone's own metadata describes an output that is no longer the model's
    kept = [entry for entry in old.tables(old.root, _METADATA) if old.raw(entry, _ENTRY_NAME) != METADATA.encode()]
    about = head.buffer(metadata(LABELS_FILE, OUTPUT))
    model: dict[int, Value] = {
        _VERSION: old.number(old.root, _VERSION),
        _CODES: head.codes,
        _SUBGRAPHS: [
            {
                _TENSORS: head.tensors,
                _INPUTS: old.reference(graph, _INPUTS),
                _OUTPUTS: np.array([probabilities], "<i4"),
                _OPERATORS: head.operators,
                _GRAPH_NAME: old.reference(graph, _GRAPH_NAME),
            },
            *map(Old, graphs[1:]),
        ],
        _DESCRIPTION: old.reference(old.root, _DESCRIPTION),
        _BUFFERS: head.buffers,
        _METADATA_BUFFERS: old.reference(old.root, _METADATA_BUFFERS),
        _METADATA: [*map(Old, kept), {_ENTRY_NAME: METADATA, _ENTRY_BUFFER: about}],
        _SIGNATURES: [_signature(old, inputs[0], probabilities)],
    }
    return _with_labels(prefix(model, _IDENTIFIER) + backbone, labels)


class _Head:
    """The vectors of model and graph while they grow: first the backbone's own items, then the head's."""

    def __init__(self, old: Reader, graph: int) -> None:
        self.old, self.graph = old, graph
        codes = old.tables(old.root, _CODES)
        self._codes = {_op(old, code): index for index, code in enumerate(codes)}
        self.codes: list[Value] = [Old(code) for code in codes]
        self.buffers: list[Value] = [_buffer(old, buffer) for buffer in old.tables(old.root, _BUFFERS)]
        self.tensors: list[Value] = [Old(tensor) for tensor in old.tables(graph, _TENSORS)]
        self.operators: list[Value] = [Old(operator) for operator in old.tables(graph, _OPERATORS)]

    def buffer(self, data: bytes) -> int:
        """Add a buffer and return its index."""
        self.buffers.append({_DATA: data})
        return len(self.buffers) - 1

    def constant(self, name: str, values: NDArray[Any]) -> int:
        """Add a tensor that holds these values and return its index."""
        element = _INT32 if values.dtype.kind == "i" else _FLOAT32
        fields: dict[int, Value] = {
            _SHAPE: np.array(values.shape, "<i4"),
            _TYPE: element,
            _BUFFER: self.buffer(values.tobytes()),
        }
        return self._tensor(f"head/{name}", fields)

    def add(
        self, op: _Op, *inputs: int, shape: dict[int, Value], name: str = "", options: dict[int, Value] | None = None
    ) -> int:
        """Add an operator and a float32 tensor for its result, and return the tensor's index."""
        result = self._tensor(name or f"head/{len(self.operators)}", shape)
        self.operators.append(
            {
                _OPCODE: self._code(op),
                _OP_INPUTS: np.array(inputs, "<i4"),
                _OP_OUTPUTS: np.array([result], "<i4"),
                _OPTIONS_TYPE: op.options,
                _OPTIONS: options or {},
            }
        )
        return result

    def _tensor(self, name: str, fields: dict[int, Value]) -> int:
        self.tensors.append({_NAME: name, _HAS_RANK: 1, **fields})
        return len(self.tensors) - 1

    def _code(self, op: _Op) -> int:
        """Return the index of this operator's code, reusing the backbone's if the version is the same."""
        if op not in self._codes:
            self._codes[op] = len(self.codes)
            old_code = min(op.code, _LARGEST_OLD_CODE)
            self.codes.append({_DEPRECATED_CODE: old_code, _CODE_VERSION: op.version, _CODE: op.code})
        return self._codes[op]


def _add_head(head: _Head, output: int, weights: NDArray[Any], bias: NDArray[Any]) -> int:
    """Add the head's operators behind the backbone's output and return the index of the probabilities."""
    old, tensors = head.old, head.old.tables(head.graph, _TENSORS)
    if not 0 <= output < len(tensors):
        raise BundleError(
            "model-damaged",
            f"the backbone's output is tensor {output} of {len(tensors)}: the file is damaged; build the bundle again",
        )
    embedding = tensors[output]
    if old.raw(embedding, _NAME) == OUTPUT.encode():
        raise BundleError("model-unsuitable", f"the backbone's output is named {OUTPUT!r}: it is already a classifier")
    shape, element = old.integers(embedding, _SHAPE), old.byte(embedding, _TYPE)
    signature = old.integers(embedding, _SHAPE_SIGNATURE) or shape
    dimension = check_dimension([*shape[:1], *signature[1:]], weights)
    batch, free_batch = shape[0], signature[0] == _FREE

    def rows(width: int) -> dict[int, Value]:
        free = np.array([_FREE, width], "<i4") if free_batch else None
        return {_SHAPE: np.array([batch, width], "<i4"), _SHAPE_SIGNATURE: free}

    x = output
    if element in _DEQUANTIZE:
        same: dict[int, Value] = {axes: old.reference(embedding, axes) for axes in (_SHAPE, _SHAPE_SIGNATURE)}
        x = head.add(_DEQUANTIZE[element], x, shape=same)
    elif element != _FLOAT32:
        raise BundleError(
            "model-unsuitable", f"the backbone's output has TFLite type {element}, expected float32, uint8 or int8"
        )
    if len(shape) != 2:
        target = np.array([_FREE, dimension], "<i4")
        x = head.add(_RESHAPE, x, head.constant("shape", target), shape=rows(dimension), options={_NEW_SHAPE: target})
    x = head.add(_L2_NORMALIZATION, x, shape=rows(dimension))
    columns = head.constant("weights", np.ascontiguousarray(weights.T))
    x = head.add(_FULLY_CONNECTED, x, columns, head.constant("bias", bias), shape=rows(len(bias)))
    return head.add(_SOFTMAX, x, shape=rows(len(bias)), name=OUTPUT, options={_SOFTMAX_BETA: 1.0})


def _buffer(old: Reader, buffer: int) -> Value:
    """Keep a buffer; if its data is behind the flatbuffer, as quantizers write it, update the position."""
    place = old.long(buffer, _DATA_OFFSET)
    if place <= 1:  # the schema: 1 or less is none
        return Old(buffer)
    return {_DATA_OFFSET: Long(place, moves=True), _DATA_SIZE: Long(old.long(buffer, _DATA_SIZE))}


def _op(old: Reader, code: int) -> _Op:
    """Return the operator of one of the backbone's codes (Source: GetBuiltinCode in schema_utils.cc)."""
    builtin = max(old.byte(code, _DEPRECATED_CODE), old.number(code, _CODE))
    return _Op(builtin, 0, old.number(code, _CODE_VERSION, default=1))


def _signature(old: Reader, image: int, probabilities: int) -> Value:
    """Return the model's only signature, with the backbone's inputs and key if it has a signature."""
    ours = [table for table in old.tables(old.root, _SIGNATURES) if old.number(table, _SIGNATURE_GRAPH) == 0][:1]
    inputs, key = (old.reference(ours[0], part) if ours else None for part in (_SIGNATURE_INPUTS, _SIGNATURE_KEY))
    return {
        _SIGNATURE_INPUTS: inputs or [{_MAP_NAME: _DEFAULT_INPUT, _MAP_TENSOR: image}],
        _SIGNATURE_OUTPUTS: [{_MAP_NAME: OUTPUT, _MAP_TENSOR: probabilities}],
        _SIGNATURE_KEY: key or _DEFAULT_SIGNATURE,
    }


def _with_labels(model: bytes, labels: Sequence[str]) -> bytes:
    file = io.BytesIO()
    file.write(model)
    with zipfile.ZipFile(file, "w") as archive:  # begins where the model ends
        entry = zipfile.ZipInfo(LABELS_FILE, _NO_ZIP_TIME)
        entry.create_system = _UNIX
        archive.writestr(entry, "".join(f"{label}\n" for label in labels))
    return file.getvalue()
