"""Turn embeddings into answers with the current head, and note how the pictures looked, for the drift warning."""

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.answers import Answer, Guess, Skipped
from edge.head.linear import Head
from edge.home.serving import Serving
from edge.home.state import Home
from edge.learning.domain_check import Looks, nearest
from edge.network.photos import Photo
from edge.picture.frame import Picture
from edge.unknown import drift
from edge.unknown.domain import Look

TOP = 5  # guesses listed in an answer
FLUSH = 500  # frames kept in memory before they are noted in the home


class Embed(Protocol):
    """Embeds pictures for a home: `Learner.embed`."""

    def __call__(
        self, files: Sequence[Picture], known: Collection[str] = ..., look: bool = ..., crops: bool = ...
    ) -> Iterator[Photo]: ...


class Answering:
    """Classifies pictures, and remembers how they looked until this is stored in the home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: tuple[Serving, list[drift.FrameNote]] | None = None
        self._looks: Looks | None = None

    def answer(self, serving: Serving, photo: Photo, explain: bool) -> Answer:
        """Classify an embedded picture; with `explain`, also list the most similar examples."""
        embedding = photo.embedding
        assert embedding is not None
        start = time.perf_counter()
        probabilities = serving.head.probabilities(embedding[None])[0]
        top = guesses(serving.head, probabilities)
        unknown = self.unknown(serving, embedding, int(probabilities.argmax()), photo.look)
        return Answer(
            image=str(photo.path),
            label=None if unknown else top[0].label,
            unknown=unknown,
            probability=top[0].probability,
            top=top,
            generation=serving.generation,
            milliseconds=photo.milliseconds + 1000 * (time.perf_counter() - start),
            nearest=nearest(self._home, embedding) if explain else (),
        )

    def unknown(
        self, serving: Serving, embedding: NDArray[np.float32], column: int, look: Look | None = None
    ) -> bool | None:
        """Whether a picture that the head gives the label of `column` is unknown; its look is noted for the drift."""
        if serving.detector is None:
            return None
        similarity = serving.detector.similarity(embedding)
        unknown = serving.detector.unknown(similarity, column)
        if look is not None and unknown is not None:
            if self._seen is None or self._seen[0].generation != serving.generation:
                self.note()
                self._seen, self._looks = (serving, []), Looks(self._home)
            rank = -1 if unknown else round(100 * serving.detector.rank(similarity, column))
            self._seen[1].append(drift.FrameNote(rank, self._looks.word(look) if self._looks else ""))
            if len(self._seen[1]) >= FLUSH:
                self.note()
        return unknown

    def unknowns(
        self, serving: Serving, embeddings: Sequence[NDArray[np.float32]], probabilities: NDArray[np.float32]
    ) -> list[bool]:
        """Whether each of n embedded pictures, with the head's probabilities (n, C), is known to be unknown."""
        columns = probabilities.argmax(axis=1).tolist()
        return [bool(self.unknown(serving, x, i)) for x, i in zip(embeddings, columns, strict=True)]

    def note(self) -> None:
        """Store the looks of the frames in the home; if the disk is full or read-only, they are lost."""
        if self._seen is None:
            return
        (serving, seen), self._seen = self._seen, None
        if serving.detector and seen:
            expected, store = 1 - serving.detector.gate.coverage, self._home.store
            store.note("recent", drift.note(store.get("recent"), serving.generation, seen, expected))


def guesses(head: Head, probabilities: NDArray[np.float32]) -> tuple[Guess, ...]:
    """The most probable labels, at most `TOP`, given a head's probabilities (C,)."""
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    return tuple(Guess(head.labels[i], float(probabilities[i])) for i in best)


def skipped(photo: Photo) -> Skipped:
    """Return the reason why a picture has no embedding."""
    return Skipped(str(photo.path), str(photo.error), photo.error.reason if photo.error else "known")
