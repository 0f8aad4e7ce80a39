"""Compare pictures with the examples: do they look like the bundle's photos, and which examples are most similar?"""

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.answers import Neighbour
from edge.head.matrix import chunks
from edge.home.factory import factory_examples
from edge.metrics.binomial import tail
from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.unknown.domain import Complaint, Look, complaints, look, summary

if TYPE_CHECKING:
    from edge.home.state import Home
    from edge.network.photos import Photo

NEAREST = 5
TAUGHT = 200  # newest taught pictures that say what is usual here
CHUNK = 1024  # examples read at a time
FEW = 0.1  # share of pictures below which a word is an accident, where there are many


class Looks:
    """Says in one word how a picture differs from the bundle's photos, if the examples taught here do not."""

    def __init__(self, home: "Home") -> None:
        self._home = home
        found = home.bundle.domain()
        self.domain = found.domain if found else None

    def complaints(self, statistics: NDArray[np.float32]) -> list[Complaint]:
        """The ways in which a picture differs from the bundle's photos; none if the bundle does not describe them."""
        return complaints(statistics, self.domain) if self.domain else []

    def complaints_about(self, frame: Frame) -> list[Complaint]:
        """As `complaints`, of a frame as the network would see it.

        Raises:
            ImageError: the frame cannot be decoded.
        """
        info, region = self._home.info, self._home.region
        pixels = preprocess.decode(frame.data, frame.name, info.input_size, info.short_side, region, info.fit)
        return self.complaints(look(pixels).statistics)

    @cached_property
    def _usual(self) -> set[str]:
        store = self._home.store
        taught = store.looks(TAUGHT) if self.domain else []
        words = Counter(complaint.word for statistics in taught for complaint in self.complaints(statistics))
        return {word for word, count in words.items() if count > FEW * len(taught)}

    def word(self, look: Look) -> str:
        """The first word that fits a picture and is not usual here, or ""."""
        return next((c.word for c in self.complaints(look.statistics) if c.word not in self._usual), "")


class DomainCheck:
    """Collects pictures and describes, in lines for people, how they differ from the home's examples.

    Args:
        label: the label under which the pictures are taught, or None. For a new label, another scene is no difference.
    """

    def __init__(self, home: "Home", label: str | None = None) -> None:
        self._looks = Looks(home)
        serving = home.serving()
        self.known = self._looks.domain is not None
        self._judge = serving.detector if label is None or label in serving.head.labels else None
        self._complaints: list[list[Complaint]] = []
        self._unlike = 0

    def add(self, photo: "Photo") -> None:
        """Add a picture, if it was measured."""
        if photo.look is None or photo.embedding is None:
            return
        self._complaints.append(self._looks.complaints(photo.look.statistics))
        if self._judge:
            self._unlike += self._judge.similarity(photo.embedding) < self._judge.gate.threshold

    def lines(self) -> list[str]:
        """Return one line for each word that fits more than a few of the pictures."""
        n = len(self._complaints)
        lines = summary(self._complaints, FEW)
        expected = 1 - self._judge.gate.coverage if self._judge else 1.0
        if n and not lines and 2 * self._unlike >= n and tail(n, self._unlike, expected) < 1e-3:
            lines.append(
                f"{self._unlike} of {n} pictures are another scene (unlike all examples; about {expected * n:.0f} "
                "would be usual): if the camera was moved or replaced, teach a few of its pictures for every label"
            )
        return lines


def nearest(home: "Home", embedding: NDArray[np.float32]) -> tuple[Neighbour, ...]:
    """Find the examples most similar to an embedding (D,), by the cosine of whitened embeddings, best first."""
    store = home.store
    white = home.background.white()
    z = white(embedding[None])[0]
    best: list[Neighbour] = []
    taught = store.examples(held_out=False)
    for at in range(0, len(taught), CHUNK):
        part = taught[at : at + CHUNK]
        cosines = white(store.embeddings([e.id for e in part], home.info.dimension)) @ z
        best += [
            Neighbour(part[i].id, part[i].source, part[i].label, float(cosines[i]))
            for i in np.argsort(-cosines, kind="stable")[:NEAREST].tolist()
        ]
    factory, names = factory_examples(home.bundle, store)
    if len(names):
        cosines = np.concatenate([white(factory.embeddings[part]) @ z for part in chunks(len(names), CHUNK)])
        rows = [i for i in np.argsort(-cosines, kind="stable").tolist() if names[i] is not None][:NEAREST]
        best += [Neighbour(None, f"factory photo {i + 1}", str(names[i]), float(cosines[i])) for i in rows]
    return tuple(sorted(best, key=lambda neighbour: -neighbour.similarity)[:NEAREST])
