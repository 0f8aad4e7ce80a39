"""From a stored generation to its head and gate, with the names that its labels have today; nothing is believed.

Head and gate carry their own shapes, the row beside them names the columns: all three must agree.
"""

from dataclasses import replace
from typing import NamedTuple

from edge.errors import HomeError
from edge.head.linear import Head
from edge.home.heads import Generation
from edge.unknown.gate import Gate


class Unpacked(NamedTuple):
    """A head, its columns in the order of today's names, and its gate in the same order."""

    head: Head
    gate: Gate | None


def unpack(stored: Generation, dimension: int | None = None) -> Unpacked:
    """Read a generation's head and gate.

    Args:
        stored: the generation.
        dimension: of the backbone's embeddings; None: of another backbone, it is not known.

    Raises:
        HomeError: it was overwritten, is damaged, or its parts do not fit each other.
        BundleError, LabelError: its bytes are no head, or no gate.
    """
    if stored.damaged:
        raise HomeError("head-damaged", f"generation {stored.generation} is damaged; run: edge retrain")
    if stored.head is None:
        raise HomeError("generation-unusable", f"generation {stored.generation} was overwritten; run: edge retrain")
    head = Head.from_bytes(stored.head)
    gate = None if stored.gate is None else Gate.from_bytes(stored.gate)
    columns, features = len(stored.labels), head.features if dimension is None else dimension
    shapes = [(head.features, len(head.labels))]
    if gate is not None:
        shapes.append((gate.prototypes.shape[1], len(gate.measured)))
    if any(shape != (features, columns) for shape in shapes):
        told = " and ".join(f"{d} features, {c} labels" for d, c in shapes)
        raise HomeError(
            "head-damaged",
            f"generation {stored.generation} is damaged ({told}, not {features} and {columns}); run: edge retrain",
        )
    order = sorted(range(columns), key=stored.labels.__getitem__)  # labels may have been renamed since
    names = tuple(stored.labels[i] for i in order)
    head = replace(head, labels=names, weights=head.weights[:, order], bias=head.bias[order])
    return Unpacked(head, None if gate is None else gate.reordered(order))
