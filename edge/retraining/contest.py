"""Collect the answers of the new and the current head to the same pictures, for `promote` to compare.

A generation stores how each of its examples, left out, was classified: float16, positive where correct,
negative if not, NaN if not measured; first the local examples by number, then the bundle's. Their numbers need not be
stored, because forgetting an example overwrites every generation that was trained on it: as long as a generation can be
used, it was trained on exactly the local examples up to its last one.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.bundle.archive import FactoryExamples
from edge.head.fit import groups_of
from edge.head.linear import Head
from edge.head.stream import CHUNK
from edge.metrics.promote import Pairs

if TYPE_CHECKING:
    from edge.home.examples import LabelledExample
    from edge.home.state import Home

Floats = NDArray[np.float64]


class Contest:
    """The new head, not stored yet, and the current one.

    Args:
        loo: (N, C) its leave-one-out answers to the local examples, then to the bundle's that have a label.
        taught: the local examples, in the same order.
        factory: the bundle's examples, including those without a label today.
        names: the labels of the bundle's examples; None for a forgotten one.
    """

    def __init__(
        self,
        home: "Home",
        head: Head,
        loo: NDArray[np.float32],
        taught: "Sequence[LabelledExample]",
        factory: FactoryExamples,
        names: Sequence[str | None],
    ) -> None:
        self._home, self._head, self._taught, self._bundled, self._names = home, head, taught, factory, names
        self._store = home.store
        self._serving = home.serving_generation()
        self._loo = np.full((len(taught) + len(self._names), loo.shape[1]), np.nan)  # forgotten labels: not measured
        named = np.array([name is not None for name in self._names], bool)
        self._loo[np.append(np.ones(len(taught), bool), named)] = loo
        self._labels = [*(example.label for example in taught), *self._names]
        self._order = np.argsort([example.id for example in taught], kind="stable")

    @property
    def serving(self) -> int:
        """The number of the current generation; 0 if there is none to compare with."""
        return self._serving.generation if self._serving else 0

    @property
    def own(self) -> bytes:
        """The answers that the new generation stores."""
        n, every = len(self._taught), self._head.labels
        own = _own(self._loo, self._labels, every, every)
        return np.append(own[:n][self._order], own[n:]).astype("<f2").tobytes()

    @property
    def figures(self) -> dict[str, object]:
        """Further figures that the new generation stores: the bundle of `own`, and its answers to held-out pictures."""
        own = self._asked(self._head, [e for e in self._canaries if e.label in self._head.labels], self._head.labels)
        return {
            "bundle": self._store.meta("bundle"),
            "held_out_examples": len(own),
            "held_out_right": int((own > 0).sum()),
        }

    @cached_property
    def held_out(self) -> Pairs | None:
        """Both heads on the held-out pictures."""
        known = [e for e in self._canaries if e.label in self._common]
        if not known:
            return None
        new, old = (self._asked(head, known, self._common) for head in (self._head, self._home.serving().head))
        unknown = [e for e in self._canaries if e.label in self._head.labels and e.label not in self._common]
        gained = int((self._asked(self._head, unknown, self._head.labels) > 0).sum())
        return Pairs(new > 0, old > 0, groups_of([e.session for e in known]), gained, held_out=True)

    @cached_property
    def shared(self) -> Pairs | None:
        """Both heads on the local examples that both were trained on, each left out."""
        if self._kept is None:
            return None
        old, new = self._kept[: len(self._had)], self._new[self._had]
        both = ~np.isnan(old) & ~np.isnan(new)
        if not both.any():
            return None
        groups = groups_of([self._taught[row].session for row in self._had[both]])
        return Pairs(new[both] > 0, old[both] > 0, groups, self._of_new_labels)

    @cached_property
    def factory(self) -> Pairs | None:
        """Both heads on the bundle's examples; gains on examples taught since make up for losses."""
        if self._kept is None or self._serving is None:
            return None
        if self._serving.figures.get("bundle") != self._store.meta("bundle"):
            return None
        old, new = self._kept[len(self._had) :], self._new[len(self._taught) :]
        if len(old) != len(new):  # damaged: the row names another last example
            return None
        both = ~np.isnan(old) & ~np.isnan(new) & ~self._bundled.trained_on
        if not both.any():
            return None
        since = [row for row in np.setdiff1d(np.arange(len(self._taught)), self._had) if not np.isnan(self._new[row])]
        served = self._asked(self._home.serving().head, [self._taught[row] for row in since], self._common)
        won = int((self._new[since] > 0).sum()) - int((served > 0).sum())
        groups = groups_of([None if group < 0 else str(group) for group in self._bundled.groups[both].tolist()])
        return Pairs(new[both] > 0, old[both] > 0, groups, self._of_new_labels + max(0, won))

    @cached_property
    def _common(self) -> list[str]:
        """The labels that both heads know."""
        return [label for label in self._head.labels if self._serving and label in self._serving.labels]

    @cached_property
    def _new(self) -> Floats:
        """The answers of the new head to all its examples, among the labels that both know."""
        return _own(self._loo, self._labels, self._common, self._head.labels)

    @cached_property
    def _had(self) -> NDArray[np.int64]:
        """Rows of the local examples on which the current head was trained, by number."""
        last = self._serving.last_example if self._serving else 0
        return np.array([row for row in self._order if self._taught[row].id <= last], np.int64)

    @cached_property
    def _kept(self) -> Floats | None:
        """The stored answers of the current head to its examples; None if they are missing or do not fit."""
        if self._serving is None or self._serving.own is None or len(self._serving.own) % 2:
            return None
        kept = np.frombuffer(self._serving.own, "<f2").astype(np.float64)
        if len(kept) < len(self._had):
            return None
        return np.where(np.abs(kept) <= 1, kept, np.nan)

    @cached_property
    def _of_new_labels(self) -> int:
        """How many local examples of labels unknown to the current head the new one classifies correctly."""
        labels = [example.label for example in self._taught]
        own = _own(self._loo[: len(labels)], labels, self._head.labels, self._head.labels)
        return sum(label not in self._common and mine > 0 for label, mine in zip(labels, own, strict=True))

    @cached_property
    def _canaries(self) -> "Sequence[LabelledExample]":
        return self._store.labelled(held_out=True)

    def _asked(self, head: Head, pictures: "Sequence[LabelledExample]", among: Sequence[str]) -> Floats:
        """The answers of a head to pictures on which it was not trained."""
        answers = [np.zeros(0)]
        for start in range(0, len(pictures), CHUNK):
            part = pictures[start : start + CHUNK]
            embeddings = self._store.embeddings([e.id for e in part], self._home.info.dimension)
            answers.append(_own(head.probabilities(embeddings), [e.label for e in part], among, head.labels))
        return np.concatenate(answers)


def _own(
    probabilities: NDArray[np.floating], labels: Sequence[str | None], among: Sequence[str], columns: Sequence[str]
) -> Floats:
    """(n,) 1 if the best label `among` these is the true one, else −1; NaN if not measured."""
    own = np.full(len(labels), np.nan)
    if among:
        table = np.asarray(probabilities, np.float64)[:, [columns.index(label) for label in among]]
        measured, best = (table.max(axis=1) > 0).tolist(), table.argmax(axis=1).tolist()  # of NaN: not measured
        for row, label in enumerate(labels):
            if label in among and measured[row]:
                own[row] = 1 if among[best[row]] == label else -1
    return own
