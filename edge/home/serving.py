"""The head in use: that of the current generation or, if it is damaged, of another intact one.

A stored generation is checked when it is read: head and gate contain their own shapes, the row names the columns, and
all three must agree.
"""

import contextlib
from dataclasses import dataclass, replace

from edge.bundle.manifest import BackboneInfo
from edge.errors import EdgeError, HomeError
from edge.head.linear import Head
from edge.home.heads import Generation
from edge.home.store import Store
from edge.unknown.gate import Background, Detector, Gate


@dataclass(frozen=True)
class Serving:
    """The head in use with today's names of its labels, and the gate that recognises unknown pictures."""

    generation: int
    head: Head
    detector: Detector | None


def load_whole(store: Store, info: BackboneInfo, background: Background, wanted: int) -> Serving:
    """Load a generation; if it is damaged, load the newest older intact one that was in use, or else a newer one.

    Raises:
        HomeError: no generation is intact.
    """
    try:
        return load(store, info, background, wanted)
    except EdgeError as error:
        others = [number for number in store.generation_numbers() if number != wanted]
        for number in sorted(others, key=lambda n: (n > wanted, -n)):
            with contextlib.suppress(EdgeError):
                stored = store.generation(number)
                if stored.backbone == info.fingerprint and stored.promoted:
                    return load(store, info, background, number)
        raise HomeError("generation-unusable", f"{error}; no other generation is intact") from error


def load(store: Store, info: BackboneInfo, background: Background, number: int) -> Serving:
    """Load one generation.

    Raises:
        HomeError, BundleError, LabelError: there is no such generation, or as `unpack`.
    """
    head, gate = unpack(store.generation(number), info.dimension)
    known = gate is not None and gate.background == background.digest()  # else a bundle brought another since
    return Serving(number, head, Detector(gate, background) if gate and known else None)


def drop_old(store: Store, fingerprint: str, serving: int, most: int) -> None:
    """Keep the newest generations, the current one, and the one to which `rollback` would go back.

    Args:
        store: the database, in a transaction.
        most: how many of the newest are kept.
    """
    numbers = store.generation_numbers()
    if len(numbers) <= most:
        return
    kept = {*numbers[-most:], serving}
    for number in reversed([number for number in numbers if number < serving]):
        earlier = store.generation(number)
        whole = earlier.head is not None and not earlier.damaged
        if whole and earlier.promoted and earlier.backbone == fingerprint:
            kept.add(number)
            break
    store.keep_generations(kept)


def unpack(stored: Generation, dimension: int | None = None) -> tuple[Head, Gate | None]:
    """Read a generation's head and gate, both with the columns in the order of today's names.

    Args:
        dimension: length of the backbone's embeddings; None for a generation of another backbone.

    Raises:
        HomeError: the head was overwritten or is damaged, or the parts do not fit each other.
        BundleError, LabelError: the bytes are not a head or a gate.
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
            f"generation {stored.generation} is damaged ({told}, expected {features} and {columns}); run: edge retrain",
        )
    order = sorted(range(columns), key=stored.labels.__getitem__)  # labels may have been renamed since
    names = tuple(stored.labels[i] for i in order)
    head = replace(head, labels=names, weights=head.weights[:, order], bias=head.bias[order])
    return head, gate.reordered(order) if gate else None
