"""Correct what was taught: forget, relabel, rename, roll back. Every change is one transaction of the store."""

from pathlib import Path
from typing import NoReturn

from edge.answers import Forgotten, HistoryEntry, Renamed, Retrained
from edge.errors import HomeError, LabelError, NotEnough
from edge.home.examples import Example
from edge.home.factory import factory_labels, join_factory_labels, put_factory_labels
from edge.home.serving import load
from edge.home.state import Home, Names
from edge.labels import beside as alike
from edge.labels import clean
from edge.learning.overview import history
from edge.network import photos


def rollback(home: Home, generation: int | None = None) -> HistoryEntry:
    """As `Learner.rollback`."""
    store = home.store
    with store.transaction():
        entries = history(home)
        serving = home.wanted()
        if generation is None:
            earlier = [e.generation for e in entries if e.generation < serving and e.usable and e.promoted]
            if not earlier:
                raise HomeError(
                    "generation-unknown",
                    f"generation {serving} is the first usable one; there is no earlier one to go back to",
                )
            generation = earlier[-1]
        chosen = next((e for e in entries if e.generation == generation), None)
        if chosen is None:
            dropped = 0 < generation < entries[-1].generation
            made = f"generation {generation} was dropped because newer ones were made"
            why = made if dropped else f"there is no generation {generation}"
            raise HomeError("generation-unknown", f"{why}; to list them, run: edge history")
        if not chosen.usable:
            raise HomeError(
                "generation-unusable",
                f"generation {generation} cannot be used: it was trained on something that was forgotten "
                "since, is damaged, or belongs to another backbone; to list the others, run: edge history",
            )
        load(store, home.info, home.background, generation)
        store.put("serving", str(generation))
    return chosen._replace(serving=True)


def find_examples(home: Home, names: Names = (), session: str | None = None, label: str | None = None) -> list[Example]:
    """As `Learner.find_examples`."""
    store = home.store
    found: list[Example] = []
    for name in [names] if isinstance(names, int | str | Path) else names:
        text, path = str(name), Path(str(name)).expanduser()
        if isinstance(name, int):  # never a file, whatever the folder holds
            matches = store.examples([name]) if len(text) < 19 else []
        elif text.isdecimal() and len(text) < 19 and not path.exists():
            matches = store.examples([int(text)])
        else:
            matches = store.examples(images=[photos.digest(path)])
        if not matches:
            raise LabelError(
                "example-unknown",
                f"'{text}' was not found: give the number of an example (see edge examples) or a picture that "
                "was taught",
            )
        found += matches
    if session is not None:
        found += store.examples(session=session) or _nothing("session", session)
    if label is not None:
        found += store.examples(label=clean(label))
    return sorted(set(found), key=lambda e: e.id)


def forget(home: Home, names: Names = (), session: str | None = None, label: str | None = None) -> Forgotten:
    """As `Learner.forget`."""
    store = home.store
    with store.transaction():
        doomed = find_examples(home, names, session, label)
        labels: tuple[str, ...] = ()
        if label is not None:
            if store.label_id(clean(label)) is None:
                _nothing("label", label)
            labels = (clean(label),)
        usable = _usable(home)
        if doomed:
            store.remove_examples([e.id for e in doomed])
        for name in labels:
            factory = [None if known == name else known for known in factory_labels(store)]
            put_factory_labels(store, factory)
            store.remove_label(name)
        _two_labels_left(home, "forgotten")
        if labels or usable != _usable(home):
            made, overwritten = _refit(home, usable)
            serving, refitted = made.serving, made.promoted
        else:  # no head had learned from them
            store.remove_empty_labels()
            serving, refitted, overwritten = home.serving().generation, False, ()
    _scrub(home)
    return Forgotten(len(doomed), labels, serving, refitted, overwritten)


def relabel(home: Home, names: Names, label: str) -> list[Example]:
    """As `Learner.relabel`."""
    store = home.store
    label = clean(label)
    with store.transaction():
        ids = [e.id for e in find_examples(home, names)]
        store.relabel_examples(ids, label)
        store.remove_empty_labels()
        return store.examples(ids)


def rename(home: Home, old: str, new: str, merge: bool = False) -> Renamed:
    """As `Learner.rename`."""
    store = home.store
    old, new = clean(old), clean(new)
    with store.transaction():
        store.remove_empty_labels()
        gone, kept = store.label_id(old), store.label_id(new)
        if gone is None:
            _nothing("label", old)
        if gone == kept:
            raise LabelError("label-taken", f"label '{old}' already has that name")
        if kept is not None and not (merge or _nothing_of(home, kept)):
            store.rename_label(old, new)  # which refuses
        if kept is None or not (merge or store.in_a_head(kept)):
            if kept is not None:  # only a bundle of the past had it
                _join(home, kept, gone)
            store.rename_label(old, new)
            return Renamed(old, new, False, 0, home.serving().generation, False, ())
        usable = _usable(home)
        examples = _join(home, gone, kept)
        _two_labels_left(home, "merged")
        made, overwritten = _refit(home, usable)
    _scrub(home)
    return Renamed(old, new, True, examples, made.serving, made.promoted, overwritten)


def beside(home: Home, label: str, leaving: str = "") -> tuple[str, ...]:
    """As `Learner.beside`."""
    store = home.store
    known = [name for name in store.labels().values() if name != leaving]
    return () if clean(label) in known else alike(clean(label), known)


def label_number(home: Home, label: str | None) -> int | None:
    """The number of a label in the database; None of None.

    Raises:
        LabelError: it is not known.
    """
    store = home.store
    number = None if label is None else store.label_id(clean(label))
    if label is not None and number is None:
        _nothing("label", label)
    return number


def _two_labels_left(home: Home, done: str) -> None:
    """Refuse a change that would leave fewer than two labels, and say what to teach first."""
    store = home.store
    left = {e.label for e in store.labelled()} | {name for name in factory_labels(store) if name}
    if len(left) < 2:
        which = f"only '{left.pop()}'" if left else "no label"
        raise NotEnough(
            "too-few-labels",
            f"nothing was {done}: {which} would remain, but at least two labels are needed; first "
            "teach another one (edge teach LABEL PICTURES), then run this command again",
        )


def _nothing_of(home: Home, label: int) -> bool:
    """Whether a label has no example here or in the bundle."""
    store = home.store
    named = store.labels()[label] in factory_labels(store)
    return not named and next(store.walk(label), None) is None


def _join(home: Home, gone: int, kept: int) -> int:
    """Merge two labels; returns the number of local examples whose label changed."""
    store = home.store
    join_factory_labels(store, gone, kept)
    return store.join_labels(gone, kept)


def _usable(home: Home) -> set[int]:
    """The generations that can be used; unlike `history`, this works even if the current one is gone."""
    store = home.store
    return store.kept_heads(home.info.fingerprint)


def _refit(home: Home, usable: set[int]) -> tuple[Retrained, tuple[int, ...]]:
    """Train a head on the remaining examples; returns it, and the generations that can no longer be used."""
    store = home.store
    from edge.retraining.retrain import refit

    made = refit(home)
    store.remove_empty_labels()
    return made, tuple(sorted(usable - _usable(home)))


def _scrub(home: Home) -> None:
    store = home.store
    try:
        store.scrub()
    except HomeError as error:
        home.warn(f"careful: {error}")


def _nothing(kind: str, name: str) -> NoReturn:
    raise LabelError("label-unknown", f"there is no {kind} '{name}'; to list them, run: edge status")
