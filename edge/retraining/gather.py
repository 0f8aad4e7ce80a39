"""The first step of `retrain`: read everything to which the head is fitted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.bundle.archive import FactoryExamples
from edge.head.fit import Examples
from edge.head.stream import whole_sessions
from edge.home.factory import factory_examples, factory_labels, named_examples

if TYPE_CHECKING:
    from edge.home.examples import LabelledExample
    from edge.home.state import Home
    from edge.home.store import Store


@dataclass(frozen=True)
class Basis:
    """What the new head depends on: the examples up to number `last`, and today's labels of the bundle's examples."""

    last: int
    taught: "tuple[LabelledExample, ...]"
    bundle: str
    factory_labels: tuple[str | None, ...]

    @classmethod
    def of(cls, store: "Store", last: int | None = None) -> "Basis":
        """Read the current state, up to example `last` or the newest one."""
        newest = store.last_example() if last is None else last
        taught = tuple(example for example in store.labelled() if example.id <= newest)
        return cls(newest, taught, store.meta("bundle"), tuple(factory_labels(store)))


@dataclass(frozen=True)
class Gathered:
    """The examples themselves."""

    basis: Basis
    bundled: FactoryExamples  # the bundle's examples, including those without a label today
    names: Sequence[str | None]  # their labels today; None for a forgotten one
    factory: Examples  # the bundle's examples that have a label
    # store, dimension: the database with the embeddings of the local examples, and their length
    store: "Store" = field(repr=False)
    dimension: int

    @property
    def labels(self) -> list[str]:
        """The labels of the local examples."""
        return [example.label for example in self.basis.taught]

    @property
    def sessions(self) -> list[str | None]:
        """The sessions of the local examples."""
        return [example.session for example in self.basis.taught]

    def local(self) -> Iterator[Examples]:
        """Read the local examples in parts that fit in memory, without dividing a session."""
        taught = self.basis.taught
        for part in whole_sessions(self.sessions):
            ids, labels, sessions = zip(*taught[part], strict=True)
            yield Examples(self.store.embeddings(ids, self.dimension), labels, sessions)


def gather(home: "Home") -> Gathered:
    """Read the examples; the store's snapshot or transaction must stay open while they are used."""
    store = home.store
    bundled, names = factory_examples(home.bundle, store)
    return Gathered(Basis.of(store), bundled, names, named_examples(bundled, names), store, home.info.dimension)
