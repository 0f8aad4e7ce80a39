"""When a bundle with another backbone is installed, embed the examples again from their stored crops.

A crop is the part of a picture that the former network saw, as JPEG; the new network gets all of it, at its own size.
The embedding differs slightly from that of the original picture. If the new network would use more of a picture than
its centre square, the rest is missing.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import BackboneInfo
from edge.errors import HomeError
from edge.home.store import Store
from edge.network.backbone import Backbone
from edge.network.photos import embed
from edge.picture.frame import Frame

CHUNK = 64  # crops in memory at a time
SHOWN = 20  # example numbers in an error

Step = Callable[[int, int], None]  # called with (done, total)
Again = dict[int, NDArray[np.float32]]  # by example, its embedding (D,)


def check_crops(store: Store, info: BackboneInfo, path: Path) -> None:
    """Refuse a bundle with another backbone if an example has no stored crop, and say what has to be taught again.

    Raises:
        HomeError: there are such examples; nothing was changed.
    """
    without = store.foreign(info.fingerprint, cropless=True)
    if without:
        _refuse(store, without, f"{path} is of another backbone ('{info.name}')", "no crop was kept")


def embed_crops(
    store: Store, open_network: Callable[[], Backbone], info: BackboneInfo, known: Again, step: Step
) -> Again:
    """Embed the crops of all examples that were taught on another backbone.

    Args:
        open_network, info: the new backbone; it is opened only if there is something to embed.
        known: the embeddings computed so far.

    Raises:
        HomeError: a crop cannot be read.
    """
    wanted = [number for number in store.foreign(info.fingerprint) if number not in known]
    if not wanted:
        return known
    whole = replace(info, short_side=info.input_size, fit="crop")  # a crop is a square, and all of it is shown
    found, damaged = dict(known), list[int]()
    for number, embedding in _embeddings(store, wanted, open_network(), whole):
        if embedding is None:
            damaged.append(number)
        else:
            found[number] = embedding
        step(len(found) - len(known) + len(damaged), len(wanted))
    if damaged:
        _refuse(store, damaged, f"'{info.name}' is another backbone", "the crop is damaged")
    return found


def _embeddings(
    store: Store, numbers: list[int], network: Backbone, info: BackboneInfo
) -> Iterator[tuple[int, NDArray[np.float32] | None]]:
    for at in range(0, len(numbers), CHUNK):
        part = numbers[at : at + CHUNK]
        frames = [Frame(f"example {number}", store.crop(number) or b"", 0.0) for number in part]
        for number, photo in zip(part, embed(frames, network, info), strict=True):
            yield number, photo.embedding


def _refuse(store: Store, numbers: list[int], why: str, what: str) -> None:
    labels = Counter(example.label for example in store.examples(numbers))
    counts = ", ".join(f"{label} {count}" for label, count in sorted(labels.items()))
    some = " ".join(map(str, numbers[:SHOWN])) + (" …" if len(numbers) > SHOWN else "")
    raise HomeError(
        "backbone-changed",
        f"{why}, and of {len(numbers)} examples taught here {what}, so they must be taught again: {counts}; "
        f"nothing was changed; remove them (edge forget {some}), run edge init again and teach their pictures, or "
        "choose another --home",
    )
