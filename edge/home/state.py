"""An open home: its folder, database, bundle and current head.

It has state and no verbs, which are the methods of `Learner`.
"""

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from edge.bundle import archive
from edge.bundle.manifest import BackboneInfo, ModelFile
from edge.errors import BundleError, EdgeError, HomeMissing
from edge.home.database import closed
from edge.home.heads import Generation
from edge.home.serving import Serving, load_whole
from edge.home.store import Store, open_store
from edge.picture.region import Region
from edge.system.filename import restored, stored
from edge.unknown.gate import COVERAGE, Background

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
    """Default warning callback: ignores the message."""


def in_turn(verb: Callable[Concatenate[_H, _P], _R]) -> Callable[Concatenate[_H, _P], _R]:
    """Let one thread at a time use the home, because it has one database connection and one network."""

    @functools.wraps(verb)
    def call(home: _H, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with home.lock:
            if home.closed:
                raise closed(home.home)
            return verb(home, *args, **options)

    return call


def open_adopted(home: Path) -> Store:
    """Open the database of a home with an installed bundle.

    Raises:
        HomeMissing, HomeBusy, HomeError: as in `open_store`, or `init` was interrupted before it installed a bundle.
    """
    store = open_store(home)
    try:
        check_adopted(store, home)
    except BaseException:
        store.close()
        raise
    return store


def check_adopted(store: Store, home: Path) -> None:
    """Refuse a home without a bundle, which `init` left when it was interrupted.

    Raises:
        HomeMissing: the home has no bundle yet.
        HomeError: the home cannot be read.
    """
    if store.get("serving") is None:
        raise HomeMissing(
            "home-missing", f"{home} has no bundle yet; to install one, run: edge --home {home} init NAME.edge"
        )


class Home:
    """An open home.

    Args:
        home: the folder.
        clock: returns the time that is stored with examples and generations.
        warn: called with one line if the current head is damaged and an older one is used instead, or if forgotten
            data cannot be erased yet.
        store: its database, if it is open already.

    Raises:
        HomeMissing, HomeBusy, HomeError: as in `open_adopted`.
    """

    def __init__(
        self, home: str | Path, clock: Clock = utc_now, warn: Warn = unheard, *, store: Store | None = None
    ) -> None:
        self.home = Path(home).expanduser()
        self.store = store or open_adopted(self.home)
        self.lock = threading.RLock()  # held by the thread that uses the home
        self.closed = False
        self.clock = clock
        self.warn = warn
        self._warned: int | None = None  # the damaged generation that was reported
        self._serving: tuple[int, Serving] | None = None
        self._bundle: archive.Bundle | None = None
        self._background: tuple[archive.Bundle, Background] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database once no other thread uses it."""
        with self.lock:
            self.closed = True
            self.store.close()

    @property
    def bundle(self) -> archive.Bundle:
        """The installed bundle, opened again if another process has installed another one."""
        path = self.home / self._bundle_name()
        if self._bundle is None or self._bundle.path != path:
            self._bundle = archive.read(path)
        return self._bundle

    @property
    def background(self) -> Background:
        """The statistics of generic photos in the bundle, if there are any."""
        opened = self.bundle
        if self._background is None or self._background[0] is not opened:
            self._background = opened, opened.background() or Background.none(self.info.dimension)
        return self._background[1]

    @property
    def info(self) -> BackboneInfo:
        """The backbone of the installed bundle."""
        return self.bundle.manifest.backbone

    @property
    def model(self) -> ModelFile:
        """The model of the bundle that runs here."""
        wanted = (self.store.meta("format"), self.store.meta("precision"))
        for model in self.bundle.manifest.models:
            if (model.format, model.precision) == wanted:
                return model
        raise BundleError(
            "bundle-lacks-model",
            f"{self.bundle.path} no longer contains a {wanted[0]} {wanted[1]} model; run edge init again",
        )

    @property
    def region(self) -> Region | None:
        """The part of each picture that is used; None for the whole."""
        kept = self.store.get("region")
        return Region.parse(kept) if kept else None

    @in_turn
    def put_region(self, region: Region | None) -> int:
        """Use this part of each picture from now on; returns how many examples were taught on another part."""
        with self.store.transaction():
            changed = region != self.region
            self.store.put("region", "" if region is None else str(region))
        return self.store.count() if changed else 0

    @property
    def uncertain(self) -> Path | None:
        """The last folder of uncertain frames, or None."""
        kept = self.store.get("uncertain")
        return restored(kept) if kept and "\0" not in kept else None  # it only says where to look for more

    @in_turn
    def put_uncertain(self, folder: Path) -> None:
        """Remember the folder of uncertain frames, so that `audit` finds it."""
        with self.store.transaction():
            self.store.put("uncertain", stored(str(folder.absolute())))

    @in_turn
    def serving(self) -> Serving:
        """Return the head in use, reading it again only after the home has changed.

        If it is damaged, `load_whole` chooses another one, and `warn` is called.

        Raises:
            HomeError: no generation is intact.
        """
        version = self.store.version()
        if self._serving is None or self._serving[0] != version:
            wanted = self.wanted()
            found = load_whole(self.store, self.info, self.background, wanted)
            if wanted not in (found.generation, self._warned):
                number = f"generation {wanted}" if wanted else "the number of the generation"
                self.warn(
                    f"ATTENTION: {number}, which should be in use, is damaged; generation {found.generation} is used "
                    "instead; run edge verify, then edge retrain"
                )
                self._warned = wanted
            self._serving = version, found
        return self._serving[1]

    @in_turn
    def known_coverage(self) -> float:
        """The fraction of known pictures that must be accepted, as last given to `retrain`.

        Raises:
            HomeError: the stored value is damaged.
        """
        kept = self.store.get("known_coverage")
        with contextlib.suppress(ValueError):
            share = float(kept or COVERAGE)
            if 0 < share <= 1:
                return share
        again = f"set it again: edge retrain --known-coverage {COVERAGE}"
        raise self.store.damaged(f"known_coverage {kept!r:.40}", again)

    def wanted(self) -> int:
        """The number of the current generation; 0 (which never exists) if it cannot be read."""
        kept = self.store.meta("serving")
        return int(kept) if kept.isascii() and kept.isdecimal() and len(kept) < 19 else 0

    @in_turn
    def serving_generation(self) -> Generation | None:
        """The generation in use; None if its head was overwritten or belongs to another backbone."""
        if self.store.get("serving") is None or not self.store.has_head(self.wanted()):
            return None
        try:
            stored = self.store.generation(self.serving().generation)
        except EdgeError:
            return None
        return stored if stored.backbone == self.info.fingerprint else None

    @property
    def keeps_crops(self) -> bool:
        """Whether a small JPEG of each taught picture is stored."""
        return self.store.get("keep_crops") == "1"

    @in_turn
    def labels(self) -> list[str]:
        """List the labels by name: those of the current head, and those taught since."""
        return sorted({*self.serving().head.labels, *self.store.labels().values()})

    @in_turn
    def version(self) -> int:
        """Return a number that changes with every change, by this or another process."""
        return self.store.version()

    @in_turn
    def adopted(self) -> tuple[str | None, ...]:
        """Identify the installed network, because another process may install another bundle."""
        return tuple(self.store.get(key) for key in ("bundle", "format", "precision"))

    @in_turn
    def recall(self, key: str) -> str | None:
        """Return the value that `remember` stored under a key, or None."""
        return self.store.get(key)

    @in_turn
    def remember(self, key: str, value: str) -> None:
        """Store a value under a key, for this and other processes."""
        with self.store.transaction():
            self.store.put(key, value)

    def now(self) -> str:
        """The time as it is stored: ISO 8601, to the second."""
        return self.clock().isoformat(timespec="seconds")

    def _bundle_name(self) -> str:
        name = self.store.meta("bundle")
        if not re.fullmatch(r"[0-9a-f]{16}\.edge", name):
            again = "install it again: edge init NAME.edge, or restore a backup: edge restore FILE"
            raise self.store.damaged(f"{name!r:.60} is not the name of a bundle", again)
        return name
