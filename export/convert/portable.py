"""Rewrites an ONNX file so that most programs read it correctly, without changing its results.

Exporters write every attribute, and the newest version of the file format. Some programs cannot read these, or silently
give wrong results:

- `ir_version` is set to the oldest that the opset allows (8 for opset 18). ONNX Runtime refuses unknown newer ones.
- Operator sets that no node uses are removed. ONNX Runtime 1.16 refuses an unknown version of `ai.onnx.ml`.
- Attributes that only repeat the default are removed. OpenCV's `dnn` (4.12, 5.0, 5.1) mistakes every HardSigmoid with
  an explicit `beta` of 0.5 whose output is multiplied for a HardSwish, and gives wrong results.
- Operators in `KEPT` keep their attributes: OpenCV looks up some of Resize's by name, and refuses the file without.
"""

from __future__ import annotations

import onnx
from onnx import defs, helper

KEPT = frozenset({"Resize"})
_STANDARD = ("", "ai.onnx")


def portable(model: bytes) -> bytes:
    """Rewrite an ONNX file; a file that is portable already stays unchanged.

    Args:
        model: The file's bytes, including its weights.

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
