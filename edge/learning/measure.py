"""Measure the serving head on a folder of labelled pictures."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.answers import Evaluated, Skipped, rows
from edge.errors import ImageError
from edge.home.state import Home
from edge.learning.answering import Answering, Embed, skipped
from edge.metrics.evaluate import evaluate
from edge.metrics.unmeasured import ENOUGH, Missing, told
from edge.picture.classes import labelled
from edge.picture.count import Left, count, left_of


def measure(home: Home, answering: Answering, embed: Embed, folder: Path) -> Evaluated:
    """As `Learner.evaluate`."""
    found = labelled(folder)
    listed = list(zip(found.files, found.names, found.held, strict=True))
    asked = any(found.held)
    files = [(file, label) for file, label, held in listed if held or not asked]
    left = [*found.left, *(Left(file, "other-part") for file, _, held in listed if asked and not held)]
    serving = home.serving()
    truths: list[str] = []
    embeddings: list[NDArray[np.float32]] = []
    unreadable: list[Skipped] = []
    pictures = embed([file for file, _ in files])
    for photo, (_, label) in zip(pictures, files, strict=True):
        if photo.embedding is None:
            unreadable.append(skipped(photo))
        else:
            truths.append(label)
            embeddings.append(photo.embedding)
    if not truths:
        raise ImageError(
            "no-pictures",
            f"none of the {len(files)} pictures in {folder} can be read; for the reasons, run: edge classify {folder}",
        )

    labels = serving.head.labels
    untaught = tuple(sorted(set(truths) - set(labels)))
    probabilities = serving.head.probabilities(np.stack(embeddings))
    never = np.zeros((len(truths), len(untaught)))  # a head cannot answer with a label that it does not have
    judged = evaluate(np.hstack([probabilities, never]), truths, (*labels, *untaught), held_out=True)
    unknown = answering.unknowns(serving, embeddings, probabilities) if serving.detector else []
    seen = [i for i, label in enumerate(judged.labels) if label in truths]
    counts = [truths.count(label) for label in judged.labels]
    few = [Missing(i, n, "few" if n else "absent") for i, n in enumerate(counts) if n < ENOUGH]
    return Evaluated(
        accuracy=judged.accuracy,
        interval=judged.interval,
        examples=judged.examples,
        labels=labels,
        truths=tuple(judged.labels[i] for i in seen),
        confusion=rows(judged.confusion[seen, : len(labels)]),
        unknown=sum(unknown) if unknown else None,
        unknown_by_truth=tuple(
            sum(u for u, truth in zip(unknown, truths, strict=True) if truth == judged.labels[i]) for i in seen
        )
        if unknown
        else (),
        untaught=untaught,
        unmeasured=told(few, judged.labels),
        unreadable=tuple(unreadable),
        generation=serving.generation,
        layout=f"only {found.parts[1]} is used" if asked else "",
        contradictions=tuple(Skipped(str(one.path), one.detail) for one in found.contradictions),
        files=count(len(truths), [*left, *left_of(unreadable)]),
    )
