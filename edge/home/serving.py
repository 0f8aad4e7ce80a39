"""Which head serves: the generation that should, or, where it is damaged, another one that is whole."""

import contextlib
from dataclasses import dataclass

from edge.bundle.manifest import BackboneInfo
from edge.errors import EdgeError, HomeError
from edge.head.linear import Head
from edge.home.store import Store
from edge.home.unpack import unpack
from edge.unknown.gate import Background, Judge


@dataclass(frozen=True)
class Serving:
    """The head in use, with the names that its labels have today, and what judges whether a picture is unknown."""

    generation: int
    head: Head
    judge: Judge | None


def load_whole(store: Store, info: BackboneInfo, background: Background, wanted: int) -> Serving:
    """Load a generation; if it is damaged, the newest older one that is whole and once served, or else a newer one.

    Raises:
        HomeError: none is whole.
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
        raise HomeError("generation-unusable", f"{error}; no other generation is whole") from error


def load(store: Store, info: BackboneInfo, background: Background, number: int) -> Serving:
    """Load one generation.

    Raises:
        HomeError, BundleError, LabelError: there is none, or as `unpack`.
    """
    head, gate = unpack(store.generation(number), info.dimension)
    known = gate is not None and gate.background == background.digest()  # else a bundle brought another since
    return Serving(number, head, Judge(gate, background) if gate and known else None)


def drop_old(store: Store, fingerprint: str, serving: int, most: int) -> None:
    """Keep the newest generations, the one that serves, and the one that `rollback` would let serve instead.

    Args:
        store: the database, in a transaction.
        fingerprint: of the backbone here.
        serving: the number of the one that serves.
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
