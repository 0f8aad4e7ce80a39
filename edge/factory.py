"""The factory's examples, which the bundle brings, under the names that their labels have here today.

The bundle counts its labels; the home keeps a label of its own for each of them, which may be renamed or forgotten.
"""

import json
from collections.abc import Sequence

import numpy as np

from edge.bundle import Bundle, FactoryExamples
from edge.errors import HomeError
from edge.figures import read_ids
from edge.fit import Examples
from edge.store import Store

_LABELS = "factory_labels"  # in the table meta


def factory_examples(bundle: Bundle, store: Store) -> tuple[FactoryExamples, list[str | None]]:
    """Return the factory's examples, and each one's label by its name here today; None for a forgotten one.

    Raises:
        HomeError: what is kept of the labels is damaged.
    """
    examples = bundle.examples()
    names = factory_labels(store)
    if len(names) != len(bundle.manifest.labels):
        raise _damaged(store, f"{len(names)} for {len(bundle.manifest.labels)} labels")
    return examples, [names[i] for i in examples.labels]


def named_examples(found: FactoryExamples, names: Sequence[str | None]) -> Examples:
    """Return the factory's examples that have a label here today, those of one group in a session of their own.

    Args:
        found: N of them.
        names: N labels; None for a forgotten one.
    """
    rows = np.array([row for row, name in enumerate(names) if name is not None], np.int64)
    return Examples(
        found.embeddings[rows],
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


def _damaged(store: Store, why: str) -> HomeError:
    return HomeError(
        f"{store.path} is damaged (the factory's labels: {why}); adopt its bundle again: edge init NAME.edge, "
        "or restore a backup: edge restore FILE"
    )
