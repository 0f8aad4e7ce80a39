"""Audit the examples, and choose the most useful of the pictures that were not taught yet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.answers import Audited
from edge.audit.findings import gather, least_sure, look_through
from edge.audit.page import page
from edge.files import check_output, replacing
from edge.home.state import Home
from edge.learning.answering import Answering, Embed, skipped
from edge.network.photos import Photo
from edge.picture.count import Left, count, left_of
from edge.picture.find import find, saved
from edge.system.filename import stored
from edge.system.memory import give_back

RECENT = 100  # frames saved by `watch` that are looked at


def audit_home(home: Home, answering: Answering, embed: Embed, pictures: Sequence[Path], html: Path | None) -> Audited:
    """As `Learner.audit`."""
    store = home.store
    if html is not None:
        check_output(html, "audit.html", "a page that edge audit wrote", b"<title>Audit of ")
    given = find(pictures)
    files: Sequence[Path] = given.files
    watched = None if pictures else home.uncertain
    if watched is not None:
        files = saved(watched)[: -RECENT - 1 : -1]
    seen: list[Photo] = list(embed(files, store.images())) if files else []
    fresh = [(photo.path, photo.embedding) for photo in seen if photo.embedding is not None]
    unsure = []
    if fresh:
        serving, embeddings = home.serving(), np.stack([embedding for _, embedding in fresh])
        p, seen_files = serving.head.probabilities(embeddings), [path for path, _ in fresh]
        unknown = answering.unknowns(serving, list(embeddings), p)
        unsure = least_sure(seen_files, embeddings, p, unknown, serving.head.labels)
    unreadable = [skipped(photo) for photo in seen if photo.error is not None]
    known_ones = [Left(photo.path, "known") for photo in seen if photo.error is None and photo.embedding is None]
    counted = count(len(fresh), [*given.left, *left_of(unreadable), *known_ones])
    give_back()
    found = look_through(gather(home), unsure, unreadable, watched)
    answer = found.answer._replace(files=counted)
    if html is None:
        return answer

    text = page(home, found, home.now())
    with replacing(html) as partial:
        partial.write_text(stored(text), encoding="utf-8")
    return answer._replace(page=str(html))
