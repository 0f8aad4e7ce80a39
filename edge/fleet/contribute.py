"""`contribute`: sends all examples taught here to the fleet's store, unless the store has them already.

Each step can be interrupted safely. The home records what it is about to send; the store receives the signature and
then the contribution, each as a whole; the home records that the store has it. If interrupted before the store has the
contribution, nothing has changed; if after, the next call finds it there. The database is read in one snapshot.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.answers import Contributed
from edge.bundle.signature import FLEET, sign
from edge.errors import EdgeError, FleetError
from edge.fleet import notes
from edge.fleet.contribution import CHUNK, Part, renumbered, sha256, write, write_moments
from edge.fleet.header import MAX_EXAMPLES, About, Serves, moment
from edge.fleet.identity import device_of, unasked
from edge.fleet.names import DEVICES, SIGNATURE, Named, contributions, newest_of_each
from edge.fleet.notes import Notes, Sent
from edge.fleet.remote import Remote, open_remote
from edge.head.moments import Moments

if TYPE_CHECKING:
    from edge.home.examples import Example
    from edge.home.state import Home
    from edge.home.store import Store


def contribute(
    home: "Home", url: str, *, moments: bool = False, key: Path | None = None, identity: str | None = None
) -> Contributed:
    """Send the examples; arguments and errors are those of `edge.learner.Learner.contribute`."""
    remote = open_remote(url)
    device = device_of(home, key, fresh=identity == "new")
    store = home.store
    with store.snapshot():
        about, first = tell(home, device, moments)
    content = sha256(first)
    there = newest(remote, device)
    with store.transaction():
        noted = notes.read(store)
        known = _known(noted, there, remote.url, device, identity == "keep")
        if known is not None and known.content == content:
            known = known if known.when else dataclasses.replace(known, when=home.now())
            notes.put(store, dataclasses.replace(noted.plus(known), url=remote.url))
            return _answer(remote.url, device, known.sequence, False, about, len(first))
        sequence = max(noted.highest, there.sequence if there else 0) + 1
        data = renumbered(first, about, sequence)
        coming = Sent(sequence, sha256(data), content)
        notes.put(store, dataclasses.replace(noted.plus(coming), url=remote.url))
    name = str(Named(device, sequence, coming.sha256))
    if key is not None:
        remote.put(name + SIGNATURE, sign(data, key, FLEET))
    remote.put(name, data)
    with store.transaction():
        notes.put(store, notes.read(store).plus(dataclasses.replace(coming, when=home.now())))
    return _answer(remote.url, device, sequence, True, about, len(data))


def newest(remote: Remote, device: str) -> Named | None:
    """Return the name of the device's contribution that counts in a store; None if there is none.

    Raises:
        StoreError: the store cannot be reached or refuses.
    """
    return newest_of_each(contributions(remote.names(f"{DEVICES}{device}/"))).get(device)


def tell(home: "Home", device: str, moments: bool = False) -> tuple[About, bytes]:
    """Return the header and bytes of a contribution with sequence 1; call it inside a snapshot of the home's store.

    Raises:
        FleetError: there are more examples than one device may contribute.
    """
    store = home.store
    examples = sorted(store.examples(held_out=False if moments else None), key=lambda example: example.image)
    if len(examples) > MAX_EXAMPLES:
        raise FleetError(
            "limit-exceeded",
            f"{len(examples)} examples were taught here, but a device contributes {MAX_EXAMPLES} at most",
        )
    labels = tuple(sorted({example.label for example in examples}))
    counts = dict.fromkeys(labels, 0)
    for example in examples:
        counts[example.label] += 1
    info = home.info
    about = About(
        device=device,
        sequence=1,
        form="moments" if moments else "examples",
        backbone=info.name,
        fingerprint=info.fingerprint,
        dimension=info.dimension,
        input_size=info.input_size,
        fit=info.fit,
        region=None if home.region is None else str(home.region),
        runtime=f"{home.model.format} {home.model.precision}",
        labels=labels,
        counts=tuple(counts.values()),
        held_out=sum(example.held_out for example in examples),
        taught=max((example.created for example in examples), default=""),
        serves=_serves(home, notes.read(store)),
    )
    if moments:
        return about, write_moments(about, _moments(store, examples, about))
    return about, write(about, _parts(store, examples, about))


def told(home: "Home") -> bytes:
    """Return a home's contribution with sequence 1, unsigned, for what carries it to a store in the home's place.

    Raises:
        FleetError: there are more examples than one device may contribute.
        HomeError: the home's id is damaged.
    """
    device, store = unasked(home), home.store
    with store.snapshot():
        return tell(home, device)[1]


def _parts(store: "Store", examples: "Sequence[Example]", about: About) -> Iterator[Part]:
    column = {label: place for place, label in enumerate(about.labels)}
    sessions: dict[str, int] = {}
    for example in examples:
        if example.session is not None:
            sessions.setdefault(example.session, len(sessions))
    for first in range(0, len(examples), CHUNK):
        some = examples[first : first + CHUNK]
        yield Part(
            np.frombuffer(bytes.fromhex("".join(e.image for e in some)), np.uint8).reshape(len(some), 32),
            np.array([column[e.label] for e in some], np.int32),
            np.array([-1 if e.session is None else sessions[e.session] for e in some], np.int32),
            np.array([_seconds(e.created) for e in some], np.int64),
            np.array([e.held_out for e in some], np.bool_),
            store.embeddings([e.id for e in some], about.dimension),
        )


def _moments(store: "Store", examples: "Sequence[Example]", about: About) -> Moments:
    d = about.dimension
    sums = Moments((), np.zeros(0), np.zeros((0, d)), np.zeros((d, d)))
    for first in range(0, len(examples), CHUNK):
        some = examples[first : first + CHUNK]
        sums = sums + Moments.of(store.embeddings([e.id for e in some], d), [e.label for e in some])
    return sums


def _serves(home: "Home", noted: Notes) -> Serves:
    accuracy = None
    with contextlib.suppress(EdgeError):
        generation = home.serving_generation()
        accuracy = generation.figures.get("loo_accuracy") if generation else None
    taken = noted.taken
    if taken is None:
        return Serves(accuracy=accuracy)
    return Serves(taken.release, taken.verdict, taken.why, accuracy)


def _known(noted: Notes, there: Named | None, url: str, device: str, keep: bool) -> Sent | None:
    """Return the home's record of the newest contribution that the store has under its id.

    Raises:
        FleetError: this home did not make that contribution.
    """
    if there is None:
        return None
    known = noted.of(there.sequence, there.sha256)
    if known is None and not keep:
        raise FleetError(
            "device-twice",
            f"{url} has contribution {there.sequence} of device {device[:8]}, which this home did not send: another "
            "box has the same id, or this home was restored from a backup. If it is another box, run: edge contribute "
            "URL --id new; if it was restored and is the only one: --id keep",
        )
    return known


def _seconds(created: str) -> int:
    """Return a time as seconds since 1970 UTC; 0 if it is not a valid time."""
    when = moment(created)
    return max(0, int(when.timestamp())) if when else 0


def _answer(url: str, device: str, sequence: int, sent: bool, about: About, size: int) -> Contributed:
    return Contributed(url, device, sequence, sent, about.form, about.examples, about.labels, size)
