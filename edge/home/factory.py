"""The factory's examples, which the bundle brings, under the names that their labels have here today.

The bundle counts its labels; the home keeps a label of its own for each of them, which may be renamed, joined with
another or forgotten, and stays so when another bundle brings it again: it is known by its name in the bundle.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.bundle.archive import Bundle, FactoryExamples
from edge.bundle.stored import Stored
from edge.errors import HomeError
from edge.home.store import Store
from edge.metrics.figures import read_ids

if TYPE_CHECKING:
    from edge.head.fit import Examples

DEVICE = "fleet_device"  # in the table meta: this device's id in a fleet, if it is in one
_LABELS = "factory_labels"  # in the table meta


def factory_examples(bundle: Bundle, store: Store) -> tuple[FactoryExamples, list[str | None]]:
    """Return the factory's examples, and each one's label by its name here today; None for a forgotten one.

    Of a fleet's bundle, also None for one that is this home's own: the same picture was taught here, or this device
    contributed it. What it has, it has once; what it forgot stays forgotten.

    Raises:
        HomeError: what is kept of the labels is damaged.
    """
    examples = bundle.stored_examples()
    names = factory_labels(store)
    if len(names) != len(bundle.manifest.labels):
        raise _damaged(store, f"{len(names)} for {len(bundle.manifest.labels)} labels")
    own = _own(bundle, examples, store)
    return examples, [None if mine else names[i] for i, mine in zip(examples.labels, own, strict=True)]


def named_examples(found: FactoryExamples, names: Sequence[str | None]) -> "Examples":
    """Return the factory's examples that have a label here today, those of one group in a session of their own.

    Args:
        found: N of them.
        names: N labels; None for a forgotten one.
    """
    from edge.head.fit import Examples

    rows = np.array([row for row, name in enumerate(names) if name is not None], np.int64)
    held = found.embeddings
    return Examples(
        held.only(rows) if isinstance(held, Stored) else held[rows],
        tuple(name for name in names if name is not None),
        tuple(None if group < 0 else f"factory\0{group}" for group in found.groups[rows].tolist()),  # \0: no local one
        found.trained_on[rows],
    )


def factory_labels(store: Store) -> list[str | None]:
    """Return the manifest's labels by the names they have here today; None for a forgotten one.

    Raises:
        HomeError: what is kept of them is damaged.
    """
    names = store.labels()
    try:
        return [None if i is None else names[i] for i in read_ids(store.meta(_LABELS))]
    except (ValueError, KeyError) as error:
        raise _damaged(store, str(error)) from error


def put_factory_labels(store: Store, labels: Sequence[str | None]) -> None:
    """Set by which names the manifest's labels are known here; part of the caller's transaction."""
    store.put(_LABELS, json.dumps([None if name is None else store.add_label(name) for name in labels]))


def adopt_factory_labels(
    store: Store, old: Sequence[str] | None, new: Sequence[str], wanted: Sequence[str] = ()
) -> None:
    """Let a bundle's labels be known here: those that any bundle brought before as what they are here today.

    One that no bundle brought before is the label of the same name here, or a new one. It is part of the caller's
    transaction.

    Args:
        old: the labels of the bundle installed so far; None if there is none, or it cannot be read.
        wanted: those of them to take even if they were forgotten here.
    """
    there = store.labels()
    known = {name: i for name, i in store.factory().items() if i is None or i in there}  # else damaged
    if old is not None and (ids := _ids(store)) and len(ids) == len(old):
        known |= zip(old, ids, strict=True)  # a home of an older program remembers these alone
    here = {
        name: store.add_label(name) if name not in known or (known[name] is None and name in wanted) else known[name]
        for name in new
    }
    store.put_factory(known | here)
    store.put(_LABELS, json.dumps(list(here.values())))


def join_factory_labels(store: Store, gone: int, kept: int) -> None:
    """Let the bundle's examples of a label be another's; part of the caller's transaction."""
    store.put(_LABELS, json.dumps([kept if i == gone else i for i in read_ids(store.meta(_LABELS))]))


def _own(bundle: Bundle, examples: FactoryExamples, store: Store) -> NDArray[np.bool_]:
    """Which of the factory's examples this home contributed, or has itself."""
    devices = bundle.manifest.devices
    if not devices:
        return np.zeros(len(examples.labels), np.bool_)
    device = store.get(DEVICE)
    index = devices.index(device) if device in devices else len(devices)
    images = [row.tobytes().hex() for row in examples.images]
    taught = {example.image for example in store.examples(images=images)}
    return np.asarray((examples.devices == index) | [image in taught for image in images], np.bool_)


def _ids(store: Store) -> list[int | None]:
    """The labels' ids as kept, or none if that is damaged, for a bundle that is adopted mends it."""
    known = store.labels()
    try:
        ids = read_ids(store.get(_LABELS) or "[]")
    except ValueError:
        return []
    return ids if all(i is None or i in known for i in ids) else []


def _damaged(store: Store, why: str) -> HomeError:
    remedy = "install its bundle again: edge init NAME.edge, or restore a backup: edge restore FILE"
    return store.damaged(f"the bundle's labels: {why}", remedy)
