"""`verify`: check every byte of a home, repair what can be repaired, and report the rest.

| checked | repaired | left to you |
|---|---|---|
| database: structure, indexes, references | an index is rebuilt from its table | a damaged table: restore a backup |
| examples: CRC-32, length, finiteness of each embedding | | forget a damaged one, teach its picture again |
| heads: CRC-32, shape and values of each generation | a damaged one can never serve; an older one serves | retrain |
| bundle: the SHA-256 of the file and of each entry | | run init again with a fresh copy |
| our leftovers of commands that were cut off | deleted | |

No repair loses anything: a damaged head is lost already, and can be trained again from the examples.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge.answers import Finding, Verified
from edge.errors import UNDAMAGED, EdgeError, HomeError
from edge.files import sha256
from edge.home.leftovers import delete_leftovers
from edge.home.serving import unpack
from edge.home.state import Home, check_adopted
from edge.home.store import Store, open_store

_INDEX = ("missing from index", "entries in index", "non-unique entry in index")
_SHOWN = 10
_RESTORE = "restore a backup into another home: edge --home DIR restore FILE"
_ADOPT = "install a fresh copy of the bundle: edge init NAME.edge"
_RETRAIN = "train a new one: edge retrain"


def verify(home: Path) -> Verified:
    """Check a home and repair it where possible.

    Returns:
        The findings, in order of dependence, and the repairs. Checks that depend on something beyond repair are left
        out.

    Raises:
        HomeMissing, HomeBusy, HomeError: the home does not exist or has no bundle yet, is in use, or belongs to another
            user.
    """
    findings: list[Finding] = []
    mended: list[str] = []
    with _reported(findings, "database", _RESTORE), open_store(home) as store:
        if _database(store, findings, mended):
            check_adopted(store, home)
            opened = Home(home, store=store)
            with _reported(findings, "bundle", _ADOPT):
                _bundle(opened, findings)
            if _readable(opened):
                with _reported(findings, "examples", _RESTORE):
                    _examples(opened, findings)
                with _reported(findings, "heads", _RETRAIN):
                    _heads(opened, findings, mended)
            with _reported(findings, "leftovers", "make the home writable"):
                mended += delete_leftovers(opened)
    return Verified(str(home), tuple(findings), tuple(mended))


@contextlib.contextmanager
def _reported(findings: list[Finding], check: str, remedy: str) -> Iterator[None]:
    """Turn an error that cannot be repaired into a finding."""
    try:
        yield
    except (EdgeError, OSError) as error:
        if isinstance(error, EdgeError) and error.code in UNDAMAGED:
            raise
        findings.append(Finding(check, False, str(error), remedy))


def _database(store: Store, findings: list[Finding], mended: list[str]) -> bool:
    """Check structure, indexes and references; returns whether the database can be read."""
    found = store.damages(_SHOWN)
    if found and all(any(word in line for word in _INDEX) for line in found):
        with store.transaction():
            store.rebuild_indexes()
        found = store.damages(_SHOWN)
        if not found:
            mended.append("an index of the database was damaged and was rebuilt from its table")
    found += store.stray_references()
    seen = "; ".join(found) or f"{store.count()} examples, {len(store.labels())} labels, every page and index is intact"
    findings.append(Finding("database", not found, seen, _RESTORE))
    return not found


def _bundle(home: Home, findings: list[Finding]) -> None:
    opened = home.bundle
    path = opened.path
    if not sha256(path).startswith(path.stem):
        raise HomeError("home-damaged", f"{path} was changed after it was installed (its SHA-256 differs)")
    opened.verify()
    findings.append(Finding("bundle", True, f"{opened.manifest.name}, every hash matches", ""))


def _readable(home: Home) -> bool:
    """Whether the bundle can be read, which gives the length of embeddings."""
    with contextlib.suppress(EdgeError):
        return home.info.dimension > 0
    return False


def _examples(home: Home, findings: list[Finding]) -> None:
    store = home.store
    bad = store.damaged_examples(home.info.dimension)
    if not bad:
        findings.append(Finding("examples", True, f"the embeddings of all {store.count()} are intact", ""))
        return
    named = store.examples(bad[:_SHOWN])
    seen = ", ".join(f"{e.id} ({e.label}, {e.source})" for e in named)
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    numbers = " ".join(map(str, bad))
    remedy = f"forget them and teach their pictures again: edge forget {numbers}"
    findings.append(Finding("examples", False, f"{len(bad)} damaged: {seen}{more}", remedy))


def _heads(home: Home, findings: list[Finding], mended: list[str]) -> None:
    """Check every generation; a damaged one is overwritten, and if it was in use, another one takes its place."""
    store = home.store
    with store.snapshot():
        bad = _unsound(home)
    if bad:
        with store.transaction():  # looked at again, as others write meanwhile
            mended += _overwrite(home, _unsound(home))
    with store.snapshot():
        serving = home.serving().generation
        count = sum(store.has_head(number) for number in store.generation_numbers())
    findings.append(Finding("heads", True, f"generation {serving} is in use; intact in all: {count}", ""))


def _overwrite(home: Home, bad: list[int]) -> list[str]:
    """Switch to an intact generation and overwrite the damaged ones; returns one line for each.

    Raises:
        HomeError: no generation is intact; nothing is changed.
    """
    store = home.store
    was, serving = home.wanted(), home.serving().generation
    store.put("serving", str(serving))
    for number in bad:
        store.overwrite_head(number)
    lines = [f"generation {n} was damaged and can no longer be used" for n in bad if n != was]
    if was != serving:
        lines.append(
            f"generation {was} was damaged; generation {serving} is used instead; to train a new one, run: edge retrain"
        )
    return lines


def _unsound(home: Home) -> list[int]:
    """The damaged generations, including the current one if it has no head."""
    store = home.store
    numbers, serving = store.generation_numbers(), home.wanted()
    bad = [number for number in numbers if not _sound(home, number)]
    return bad if serving in bad or store.has_head(serving) else [*bad, serving]


def _sound(home: Home, number: int) -> bool:
    store = home.store
    try:
        stored = store.generation(number)
        if stored.head is not None:
            unpack(stored, home.info.dimension if stored.backbone == home.info.fingerprint else None)
    except EdgeError:
        return False
    return True
