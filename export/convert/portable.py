"""An ONNX file in a form that most programs read correctly; what it computes stays the same.

Exporters write every attribute, and the newest version of the file format. Others trip over both, and not always aloud:

- `ir_version`: the oldest that the opset allows (8 for opset 18). ONNX Runtime refuses a newer one than it knows.
- Sets of operators that no node is of: not named. ONNX Runtime 1.16 refuses a version of `ai.onnx.ml` it does not know.
- Attributes that only repeat what the operator's definition says: left out. OpenCV's `dnn` (4.12, 5.0, 5.1) takes
  every HardSigmoid with an explicit `beta` of 0.5 that is multiplied by something for a HardSwish, and answers wrongly.
- Operators in `KEPT` keep them: OpenCV asks for some of Resize's by name, and refuses the file without them.
"""

from __future__ import annotations

import onnx
from onnx import defs, helper

KEPT = frozenset({"Resize"})
_STANDARD = ("", "ai.onnx")


def portable(model: bytes) -> bytes:
    """Rewrite an ONNX file; one that is portable already stays as it is.

    Args:
        model: The file's bytes, with its weights inside.

    Returns:
        The new file's bytes.
    """
    proto = onnx.load_from_string(model)
    used = {node.domain for node in proto.graph.node} | set(_STANDARD)
    imports = [entry for entry in proto.opset_import if entry.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(imports)
    opset = next(entry.version for entry in proto.opset_import if entry.domain in _STANDARD)
    proto.ir_version = min(proto.ir_version, helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True))
    for node in proto.graph.node:
        if node.domain in _STANDARD and node.op_type not in KEPT:
            kept = [attribute for attribute in node.attribute if not _is_default(node.op_type, opset, attribute)]
            del node.attribute[:]
            node.attribute.extend(kept)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def _is_default(operator: str, opset: int, attribute: onnx.AttributeProto) -> bool:
    default = defs.get_schema(operator, opset).attributes[attribute.name].default_value
    given = helper.get_attribute_value(attribute)
    return default.type == attribute.type and bool(helper.get_attribute_value(default) == given)
