"""A home: an adopted bundle and everything taught since, in one folder. What it holds, and every change of it.

All that needs no network: the head in use, retraining it, its history, the examples' bookkeeping. `learner` adds the
network. Every change is one transaction of `store`; what a method returns has been stored.
"""

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, NoReturn, ParamSpec, Self, TypeVar

from edge.answers import Forgotten, HistoryEntry, Renamed, Retrained, Status, Trusted
from edge.bundle import archive
from edge.bundle.manifest import BackboneInfo, ModelFile
from edge.errors import BundleError, EdgeError, HomeError, LabelError, NotEnough
from edge.home.examples import Example
from edge.home.factory import factory_labels, join_factory_labels, put_factory_labels
from edge.home.heads import Generation
from edge.home.serving import Serving, load, load_whole
from edge.home.store import Store, open_store
from edge.labels import beside, clean
from edge.network import photos
from edge.picture.region import Region
from edge.system.filename import restored, stored
from edge.unknown.gate import COVERAGE, Background

if TYPE_CHECKING:
    from edge.bundle.signature import Key

_H = TypeVar("_H", bound="Home")
_P = ParamSpec("_P")
_R = TypeVar("_R")
Clock = Callable[[], datetime]
Names = int | str | Path | Iterable[int | str | Path]  # of examples: their numbers, or picture files that were taught
Warn = Callable[[str], None]


def utc_now() -> datetime:
    """The clock used unless another is given."""
    return datetime.now(UTC)


def unheard(line: str) -> None:
    """What is told of damage unless another is given: nobody hears it."""


def in_turn(verb: Callable[Concatenate[_H, _P], _R]) -> Callable[Concatenate[_H, _P], _R]:
    """Let one thread at a time use the home: its database and its network are one each."""

    @functools.wraps(verb)
    def call(home: _H, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with home.lock:
            if home.closed:
                raise HomeError("home-closed", f"{home.home} was closed; open it again: Learner({str(home.home)!r})")
            return verb(home, *args, **options)

    return call


def open_adopted(home: Path) -> Store:
    """Open the database of a home that has adopted a bundle.

    Raises:
        HomeMissing, HomeBusy, HomeError: as `open_store`; or init was cut off before it adopted a bundle.
    """
    store = open_store(home)
    if store.get("serving") is None:
        store.close()
        raise HomeError("home-missing", f"{home} has no bundle yet; run: edge --home {home} init NAME.edge")
    return store


class Home:
    """An open home.

    Args:
        home: the folder.
        clock: tells the time for what is stored.
        warn: is told, in one line, when the serving head is damaged and an older one serves instead, or when what was
            forgotten cannot be scrubbed yet.
        store: its database, where it is open already.

    Raises:
        HomeMissing, HomeBusy, HomeError: as `open_adopted`.
    """

    def __init__(
        self, home: str | Path, clock: Clock = utc_now, warn: Warn = unheard, *, store: Store | None = None
    ) -> None:
        self.home = Path(home).expanduser()
        self.store = store or open_adopted(self.home)
        self.lock = threading.RLock()  # held by the thread that uses the home
        self.closed = False
        self._clock = clock
        self.warn = warn
        self._warned: int | None = None  # the damaged generation that was told of
        self._serving: tuple[int, Serving] | None = None
        self._bundle: archive.Bundle | None = None
        self._background: tuple[archive.Bundle, Background] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database, when no other thread uses it any more."""
        with self.lock:
            self.closed = True
            self.store.close()

    @property
    def bundle(self) -> archive.Bundle:
        """The adopted bundle, opened; opened anew when another process has adopted another."""
        path = self.home / self._bundle_name()
        if self._bundle is None or self._bundle.path != path:
            self._bundle = archive.read(path)
        return self._bundle

    @property
    def background(self) -> Background:
        """What generic pictures' embeddings are like, as far as the bundle says."""
        opened = self.bundle
        if self._background is None or self._background[0] is not opened:
            self._background = opened, opened.background() or Background.none(self.info.dimension)
        return self._background[1]

    @property
    def info(self) -> BackboneInfo:
        """The adopted backbone."""
        return self.bundle.manifest.backbone

    @property
    def model(self) -> ModelFile:
        """Which of the bundle's files runs here."""
        wanted = (self.store.meta("format"), self.store.meta("precision"))
        for model in self.bundle.manifest.models:
            if (model.format, model.precision) == wanted:
                return model
        raise BundleError(
            "bundle-lacks-model",
            f"{self.bundle.path} holds no {wanted[0]} {wanted[1]} model any more; run edge init again",
        )

    @property
    def region(self) -> Region | None:
        """The part of each picture that is looked at; None: the whole."""
        kept = self.store.get("region")
        return Region.parse(kept) if kept else None

    @in_turn
    def put_region(self, region: Region | None) -> int:
        """Look at this part of each picture from now on; returns how many examples were taught on another."""
        with self.store.transaction():
            changed = region != self.region
            self.store.put("region", "" if region is None else str(region))
        return self.store.count() if changed else 0

    @property
    def uncertain(self) -> Path | None:
        """Where `watch` saved frames of unsure answers last; None: nowhere yet."""
        kept = self.store.get("uncertain")
        return restored(kept) if kept and "\0" not in kept else None  # it only says where to look for more

    @in_turn
    def put_uncertain(self, folder: Path) -> None:
        """Remember where frames of unsure answers are saved, so that `audit` finds them."""
        with self.store.transaction():
            self.store.put("uncertain", stored(str(folder.absolute())))

    @in_turn
    def serving(self) -> Serving:
        """The head in use; read again only after the home has changed, by us or another process.

        If it is damaged, it is the one that `load_whole` falls back to, and `warn` is told.

        Raises:
            HomeError: none is whole.
        """
        version = self.store.version()
        if self._serving is None or self._serving[0] != version:
            wanted = self.wanted()
            found = load_whole(self.store, self.info, self.background, wanted)
            if wanted not in (found.generation, self._warned):
                number = f"generation {wanted}" if wanted else "the number of the generation"
                self.warn(
                    f"ATTENTION: {number}, which should serve, is damaged; generation {found.generation} serves "
                    "instead; look at everything: edge verify; then make a new head: edge retrain"
                )
                self._warned = wanted
            self._serving = version, found
        return self._serving[1]

    @in_turn
    def known_coverage(self) -> float:
        """The share of known pictures that is not to be called unknown, as `retrain` was told last.

        Raises:
            HomeError: what is kept of it is no such share.
        """
        kept = self.store.get("known_coverage")
        with contextlib.suppress(ValueError):
            share = float(kept or COVERAGE)
            if 0 < share <= 1:
                return share
        raise HomeError(
            "home-damaged",
            f"{self.store.path} is damaged (known_coverage {kept!r:.40}); set it anew: edge retrain --known-coverage "
            f"{COVERAGE}",
        )

    def wanted(self) -> int:
        """The number of the generation that should serve; 0, which there never is, where it cannot be read."""
        kept = self.store.meta("serving")
        return int(kept) if kept.isascii() and kept.isdecimal() and len(kept) < 19 else 0

    @in_turn
    def serving_generation(self) -> Generation | None:
        """The generation in use; None if its head was overwritten, or its backbone is another one."""
        if self.store.get("serving") is None or not self.store.has_head(self.wanted()):
            return None
        try:
            stored = self.store.generation(self.serving().generation)
        except EdgeError:
            return None
        return stored if stored.backbone == self.info.fingerprint else None

    @in_turn
    def retrain(self, known_coverage: float | None = None, force: bool = False) -> Retrained:
        """Fit a new head to the factory's and the local examples, and let it serve unless it is clearly worse.

        Args:
            known_coverage: from now on, in (0, 1]; 1 calls nothing unknown. None: as before.
            force: let it serve in any case.

        Raises:
            NotEnough: there are fewer than two labels.
        """
        from edge.learning.retrain import retrain

        return retrain(self, known_coverage, force)

    @in_turn
    def anything_new(self) -> bool:
        """Whether examples were taught or relabelled since the newest generation, candidate or not, was made.

        A head that was refused or rolled back is not made again of the same examples; forgetting makes its own.
        """
        return self.store.count_after(self.store.generation_numbers()[-1]) > 0

    @in_turn
    def status(self) -> Status:
        """The home at a glance."""
        from edge.learning.overview import status

        return status(self)

    @in_turn
    def history(self) -> list[HistoryEntry]:
        """Every generation, oldest first."""
        from edge.learning.overview import history

        return history(self)

    @in_turn
    def rollback(self, generation: int | None = None) -> HistoryEntry:
        """Let an earlier head serve again; the examples stay.

        Args:
            generation: its number; None: the newest one before the serving one that is usable and no candidate.

        Raises:
            HomeError: there is none, or its head was overwritten.
        """
        with self.store.transaction():
            entries = self.history()
            serving = self.wanted()
            if generation is None:
                earlier = [e.generation for e in entries if e.generation < serving and e.usable and e.promoted]
                if not earlier:
                    raise HomeError(
                        "generation-unknown",
                        f"generation {serving} is the first usable one; there is nothing to go back to",
                    )
                generation = earlier[-1]
            chosen = next((e for e in entries if e.generation == generation), None)
            if chosen is None and 0 < generation < entries[-1].generation:
                raise HomeError(
                    "generation-unknown",
                    f"generation {generation} was dropped, as newer ones were made; see: edge history",
                )
            if chosen is None:
                raise HomeError("generation-unknown", f"there is no generation {generation}; see: edge history")
            if not chosen.usable:
                raise HomeError(
                    "generation-unusable",
                    f"generation {generation} cannot serve: it had learned from something forgotten since, is damaged, "
                    "or belongs to another backbone; see: edge history",
                )
            load(self.store, self.info, self.background, generation)
            self.store.put("serving", str(generation))
        return chosen._replace(serving=True)

    @in_turn
    def find_examples(self, names: Names = (), session: str | None = None, label: str | None = None) -> list[Example]:
        """Find local examples by number or picture file, by session, or by label.

        Raises:
            LabelError: nothing fits one of them.
        """
        found: list[Example] = []
        for name in [names] if isinstance(names, int | str | Path) else names:
            name = str(name)
            path = Path(name).expanduser()
            if name.isdecimal() and len(name) < 19 and not path.exists():
                matches = self.store.examples([int(name)])
            else:
                matches = self.store.examples(image=photos.digest(path))
            if not matches:
                raise LabelError(
                    "example-unknown",
                    f"'{name}' is no example here: give an example's number or a picture that was taught",
                )
            found += matches
        if session is not None:
            found += self.store.examples(session=session) or _nothing("session", session)
        if label is not None:
            found += self.store.examples(label=clean(label))
        return sorted(set(found), key=lambda e: e.id)

    @in_turn
    def forget(self, names: Names = (), session: str | None = None, label: str | None = None) -> Forgotten:
        """Remove examples, or a whole label with its factory examples, and refit: as if they had never been taught.

        The head after it is, byte for byte, the head that never saw them. Generations that may have learned from them
        are overwritten, in the file and in its log; the old blocks that a flash card keeps are out of reach. A serving
        head that had never seen them goes on if the new one is clearly worse.

        Args:
            names: an example's number or a picture file that was taught, or several.
            session: all of a session.
            label: the label itself and all of its examples, the factory's included.

        Raises:
            LabelError: nothing fits.
            NotEnough: fewer than two labels would be left.
        """
        with self.store.transaction():
            doomed = self.find_examples(names, session, label)
            labels: tuple[str, ...] = ()
            if label is not None:
                if self.store.label_id(clean(label)) is None:
                    _nothing("label", label)
                labels = (clean(label),)
            usable = self._usable()
            if doomed:
                self.store.remove_examples([e.id for e in doomed])
            for name in labels:
                factory = [None if known == name else known for known in factory_labels(self.store)]
                put_factory_labels(self.store, factory)
                self.store.remove_label(name)
            self._two_labels_left("forgotten")
            if labels or usable != self._usable():
                made, overwritten = self._refit(usable)
                serving, refitted = made.serving, made.promoted
            else:  # no head had learned from them
                self.store.remove_empty_labels()
                serving, refitted, overwritten = self.serving().generation, False, ()
        self._scrub()
        return Forgotten(len(doomed), labels, serving, refitted, overwritten)

    def _two_labels_left(self, done: str) -> None:
        """Refuse what would leave nothing to tell apart, and say what to teach first."""
        left = {e.label for e in self.store.labelled()} | {name for name in factory_labels(self.store) if name}
        if len(left) < 2:
            which = f"only '{left.pop()}'" if left else "no label"
            raise NotEnough(
                "too-few-labels",
                f"nothing was {done}: {which} would be left, and a head tells at least two labels apart; first "
                "teach another: edge teach LABEL PICTURES, then repeat this command",
            )

    @in_turn
    def relabel(self, names: Names, label: str) -> list[Example]:
        """Give examples another label, old or new; retrain to use it. Returns them as they are now.

        Raises:
            LabelError: one of them is no example here, or the label is no name.
        """
        label = clean(label)
        with self.store.transaction():
            ids = [e.id for e in self.find_examples(names)]
            self.store.relabel_examples(ids, label)
            self.store.remove_empty_labels()
            return self.store.examples(ids)

    @in_turn
    def rename(self, old: str, new: str, merge: bool = False) -> Renamed:
        """Give a label another name, at once and everywhere; nothing is retrained, unless two labels become one.

        Joined, the examples of both, the bundle's too, are of the new name from then on, each in its session. Heads
        that told the two apart are overwritten, and a new one is fitted at once. That cannot be undone.

        Args:
            old: the label.
            new: its name from now on.
            merge: where there is a label of that name, make one of both.

        Raises:
            LabelError: the old name is not known, or the new one is taken or no name.
            NotEnough: no two labels would be left.
        """
        old, new = clean(old), clean(new)
        with self.store.transaction():
            self.store.remove_empty_labels()
            gone, kept = self.store.label_id(old), self.store.label_id(new)
            if gone is None:
                _nothing("label", old)
            if gone == kept:
                raise LabelError("label-taken", f"label '{old}' has that name already")
            if kept is not None and not (merge or self._nothing_of(kept)):
                self.store.rename_label(old, new)  # which refuses
            if kept is None or not (merge or self.store.in_a_head(kept)):
                if kept is not None:  # only a bundle of the past had it
                    self._join(kept, gone)
                self.store.rename_label(old, new)
                return Renamed(old, new, False, 0, self.serving().generation, False, ())
            usable = self._usable()
            examples = self._join(gone, kept)
            self._two_labels_left("merged")
            made, overwritten = self._refit(usable)
        self._scrub()
        return Renamed(old, new, True, examples, made.serving, made.promoted, overwritten)

    @in_turn
    def beside(self, label: str, leaving: str = "") -> tuple[str, ...]:
        """Say that a new label differs from one that is here, or in the bundle, in case, blanks or width alone.

        Args:
            label: it; nothing is said of one that is here already.
            leaving: a label that is about to give up its name.

        Raises:
            LabelError: the label is no name.
        """
        known = [name for name in self.store.labels().values() if name != leaving]
        return () if clean(label) in known else beside(clean(label), known)

    @in_turn
    def examples(self, label: str | None = None) -> list[Example]:
        """List what was taught here, all or one label's, oldest first.

        Raises:
            LabelError: the label is not known.
        """
        return list(self.list_examples(label))

    def list_examples(self, label: str | None = None) -> Iterator[Example]:
        """List what was taught here, all or one label's, oldest first, a few examples in memory at a time.

        Raises:
            LabelError: the label is not known.
        """
        number = None if label is None else self.store.label_id(clean(label))
        if label is not None and number is None:
            _nothing("label", label)
        return self.store.walk(number)

    def _nothing_of(self, label: int) -> bool:
        """Whether a label has no example, neither here nor in the bundle."""
        named = self.store.labels()[label] in factory_labels(self.store)
        return not named and next(self.store.walk(label), None) is None

    def _join(self, gone: int, kept: int) -> int:
        """Make one label of two; returns how many local examples got another label."""
        join_factory_labels(self.store, gone, kept)
        return self.store.join_labels(gone, kept)

    def _usable(self) -> set[int]:
        """The generations that may serve; of the history nothing is asked, for the serving one may just be gone."""
        return self.store.kept_heads(self.info.fingerprint)

    def _refit(self, usable: set[int]) -> tuple[Retrained, tuple[int, ...]]:
        """Fit a head to what is left; returns it, and which of the generations that were usable no longer are."""
        from edge.learning.retrain import refit

        made = refit(self)
        self.store.remove_empty_labels()
        return made, tuple(sorted(usable - self._usable()))

    def _scrub(self) -> None:
        try:
            self.store.scrub()
        except HomeError as error:
            self.warn(f"careful: {error}")

    @in_turn
    def trust(self, key: "Key | None" = None, remove: str | None = None) -> None:
        """Pin a key, or pin one no longer.

        Args:
            key: from now on only bundles signed by a pinned key are adopted, and none older than the newest of these.
            remove: a pinned key's fingerprint, comment or line.

        Raises:
            SignatureError: no such key is pinned.
        """
        from edge.home.trust import pins, put_pins

        with self.store.transaction():
            trusted = pins(self.store).plus(key)
            if remove is not None:
                trusted = trusted.minus(remove)
            put_pins(self.store, trusted.counting(self.bundle))

    @in_turn
    def trusted(self) -> Trusted:
        """The pinned keys, and what is known of the adopted bundle's signature."""
        from edge.home.trust import pins

        return pins(self.store).told(self.bundle)

    @property
    def keeps_crops(self) -> bool:
        """Whether a small JPEG of what the network sees of each taught picture is kept."""
        return self.store.get("keep_crops") == "1"

    @in_turn
    def labels(self) -> list[str]:
        """List the labels known here, by name: those that the serving head answers with, and those taught since."""
        return sorted({*self.serving().head.labels, *self.store.labels().values()})

    @in_turn
    def example_of(self, image: str) -> Example | None:
        """Return the example of a picture, known by the SHA-256 of its file; None if it was not taught."""
        return next(iter(self.store.examples(image=image)), None)

    @in_turn
    def version(self) -> int:
        """Return a number that is another one after every change, by this or another process."""
        return self.store.version()

    @in_turn
    def adopted(self) -> tuple[str | None, ...]:
        """Which network runs here: another process may have adopted another bundle."""
        return tuple(self.store.get(key) for key in ("bundle", "format", "precision"))

    @in_turn
    def recall(self, key: str) -> str | None:
        """Return what `remember` kept under a key; None: nothing yet."""
        return self.store.get(key)

    @in_turn
    def remember(self, key: str, value: str) -> None:
        """Keep a value under a key, for this and other processes."""
        with self.store.transaction():
            self.store.put(key, value)

    def now(self) -> str:
        """The time, as it is stored: ISO 8601, to the second."""
        return self._clock().isoformat(timespec="seconds")

    def _bundle_name(self) -> str:
        name = self.store.meta("bundle")
        if not re.fullmatch(r"[0-9a-f]{16}\.edge", name):
            raise HomeError(
                "home-damaged",
                f"{self.store.path} is damaged ({name!r:.60} is no bundle's name); adopt it again: edge init "
                "NAME.edge, or restore a backup: edge restore FILE",
            )
        return name


def _nothing(kind: str, name: str) -> NoReturn:
    raise LabelError("label-unknown", f"no {kind} '{name}' here; see: edge status")
