"""A new head against the serving one: gathers from a home the answers that `promote` compares.

A generation keeps what it gave each of its examples' labels with that example left out: float16, negative where it
named another, NaN where not measured; first the local ones by number, then the bundle's. The order needs no numbers,
because forgetting an example overwrites every generation that was taught it: while a generation can serve, the local
examples up to its last one are those that it was taught.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.fit import groups_of
from edge.head import Head
from edge.promote import Comparison, compare

if TYPE_CHECKING:
    from edge.home import Home
    from edge.store import Labelled

Floats = NDArray[np.float64]


class Contest:
    """The new head, not stored yet, against the serving one.

    Args:
        home: the home.
        head: the new head.
        loo: (N, C) its leave-one-out answers to the local examples, then the factory's that have a label.
        taught: the local examples, in the same order.
    """

    def __init__(self, home: "Home", head: Head, loo: NDArray[np.float32], taught: "Sequence[Labelled]") -> None:
        self._home, self._head, self._taught = home, head, taught
        self._bundled, self._names = home.factory()
        self._serving = home.serving_generation()
        self._loo = np.full((len(taught) + len(self._names), loo.shape[1]), np.nan)  # forgotten labels: not measured
        named = np.array([name is not None for name in self._names], bool)
        self._loo[np.append(np.ones(len(taught), bool), named)] = loo
        self._labels = [*(example.label for example in taught), *self._names]
        self._order = np.argsort([example.id for example in taught], kind="stable")

    @property
    def serving(self) -> int:
        """The serving generation; 0 if there is none to compare with."""
        return self._serving.generation if self._serving else 0

    @property
    def own(self) -> bytes:
        """What the new generation is to keep."""
        n, every = len(self._taught), self._head.labels
        own = _own(self._loo, self._labels, every, every)
        return np.append(own[:n][self._order], own[n:]).astype("<f2").tobytes()

    @property
    def figures(self) -> dict[str, object]:
        """What the new generation is to keep besides: whose examples `own` is about, its answers to the held-out."""
        own = self._asked(self._head, [e for e in self._canaries if e.label in self._head.labels], self._head.labels)
        return {
            "bundle": self._home.meta("bundle"),
            "held_out_examples": len(own),
            "held_out_right": int((own > 0).sum()),
        }

    @cached_property
    def held_out(self) -> Comparison | None:
        """Both on the pictures that no head is fitted to."""
        if self._serving is None:
            return None
        other = self._home.serving().head
        common = [label for label in self._head.labels if label in other.labels]
        known = [e for e in self._canaries if e.label in common]
        if not known:
            return None
        new, old = (self._asked(head, known, common) for head in (self._head, other))
        unknown = [e for e in self._canaries if e.label in self._head.labels and e.label not in common]
        gained = int((self._asked(self._head, unknown, self._head.labels) > 0).sum())
        return compare(new, old, groups_of([e.session for e in known]), gained)

    @cached_property
    def shared(self) -> Comparison | None:
        """Both on the examples that both were fitted to, each left out."""
        if self._serving is None or self._serving.own is None:
            return None  # an older program made it
        numbers = np.array([example.id for example in self._taught], np.int64)
        had = self._order[numbers[self._order] <= self._serving.last_example]  # in the order of `own`
        kept = np.frombuffer(self._serving.own, "<f2").astype(np.float64)
        n = len(self._taught)
        old = np.full(len(self._labels), np.nan)
        old[had] = kept[: len(had)]
        if self._serving.figures["bundle"] == self._home.meta("bundle"):
            here = {example.label for example in self._taught}
            elsewhere = np.array([name not in here for name in self._names], bool) & ~self._bundled.trained_on
            old[n:] = np.where(elsewhere, kept[len(had) :], np.nan)
        common = [label for label in self._head.labels if label in self._serving.labels]
        new = _own(self._loo, self._labels, common, self._head.labels)
        both = np.flatnonzero(~np.isnan(old) & ~np.isnan(new))
        if not len(both):
            return None
        sessions = [*(example.session for example in self._taught), *[None] * len(self._names)]
        every = _own(self._loo, self._labels, self._head.labels, self._head.labels)
        unknown = np.array([label not in self._serving.labels for label in self._labels], bool)
        gained = int((every[unknown] > 0).sum())
        return compare(new[both], old[both], groups_of([sessions[row] for row in both]), gained)

    @cached_property
    def _canaries(self) -> "Sequence[Labelled]":
        return self._home.store.labelled(held_out=True)

    def _asked(self, head: Head, canaries: "Sequence[Labelled]", among: Sequence[str]) -> Floats:
        """What a head gives held-out pictures' labels."""
        if not canaries:
            return np.zeros(0)
        embeddings = self._home.store.embeddings([e.id for e in canaries], self._home.info.dimension)
        return _own(head.probabilities(embeddings), [e.label for e in canaries], among, head.labels)


def _own(
    probabilities: NDArray[np.floating], labels: Sequence[str | None], among: Sequence[str], columns: Sequence[str]
) -> Floats:
    """(n,) what each label gets of (n, C) if only those `among` are answers; negative if another gets more, or NaN."""
    table = np.asarray(probabilities, np.float64)[:, [columns.index(label) for label in among]]
    total = table.sum(axis=1, keepdims=True)
    table = np.divide(table, total, out=np.full_like(table, np.nan), where=total > 0)
    column = {label: place for place, label in enumerate(among)}
    own = np.full(len(table), np.nan)
    rows = np.array([row for row, label in enumerate(labels) if label in column], np.int64)
    rows = rows[~np.isnan(table[rows]).any(axis=1)]
    mine = np.array([column[str(labels[row])] for row in rows], np.int64)
    given = np.maximum(table[rows, mine], 1e-6)  # not 0, which has no sign
    own[rows] = np.where(table[rows].argmax(axis=1) == mine, given, -given)
    return own
