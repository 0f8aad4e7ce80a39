"""A home: an adopted bundle and everything taught since, in one folder. What it holds, and every change of it.

All that needs no network: the head in use, retraining it, its history, the examples' bookkeeping. `learner` adds the
network. Every change is one transaction of `store`; what a method returns has been stored.
"""

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Self

from edge import bundle, photos
from edge.answers import Forgotten, HistoryEntry, LabelCount, Retrained, Status, Trusted, TrustedKey
from edge.bundle import FactoryExamples
from edge.drift import drift_of
from edge.errors import BundleError, EdgeError, HomeError, LabelError, RuntimeMissing, SignatureError
from edge.figures import read_ids
from edge.gate import COVERAGE, Background, Gate, Judge
from edge.head import Head
from edge.labels import clean
from edge.manifest import BackboneInfo, ModelFile
from edge.pinned import pins, put_pins
from edge.region import Region
from edge.signature import Key
from edge.store import Example, Generation, Store, open_store
from edge.unpack import unpack

Clock = Callable[[], datetime]
Warn = Callable[[str], None]


def utc_now() -> datetime:
    """The clock used unless another is given."""
    return datetime.now(UTC)


def unheard(line: str) -> None:
    """What is told of damage unless another is given: nobody hears it."""


@dataclass(frozen=True)
class Serving:
    """The head in use, with the names that its labels have today, and what judges whether a picture is unknown."""

    generation: int
    head: Head
    judge: Judge | None


class Home:
    """An open home.

    Args:
        home: the folder.
        store: its open database.
        clock: tells the time for what is stored.
        warn: is told, in one line, when the serving head is damaged and an older one serves instead, or when what was
            forgotten cannot be scrubbed yet.
    """

    def __init__(self, home: Path, store: Store, clock: Clock = utc_now, warn: Warn = unheard) -> None:
        self.home = home
        self.store = store
        self._clock = clock
        self.warn = warn
        self._warned = 0  # the damaged generation that was told of
        self._serving: tuple[int, Serving] | None = None
        self._bundle: bundle.Bundle | None = None
        self._background: tuple[bundle.Bundle, Background] | None = None

    @classmethod
    def open(cls, home: Path, clock: Clock = utc_now, warn: Warn = unheard) -> Self:
        """Open an existing home.

        Raises:
            HomeMissing, HomeBusy, HomeError: as `open_store`; or init was cut off before it adopted a bundle.
        """
        store = open_store(home)
        if store.get("serving") is None:
            store.close()
            raise HomeError(f"{home} has no bundle yet; run: edge --home {home} init NAME.edge")
        return cls(home, store, clock, warn)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    @property
    def bundle(self) -> bundle.Bundle:
        """The adopted bundle, opened; opened anew when another process has adopted another."""
        path = self.home / self._bundle_name()
        if self._bundle is None or self._bundle.path != path:
            self._bundle = bundle.read(path)
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
        wanted = (self.meta("format"), self.meta("precision"))
        for model in self.bundle.manifest.models:
            if (model.format, model.precision) == wanted:
                return model
        raise BundleError(f"{self.bundle.path} holds no {wanted[0]} {wanted[1]} model any more; run edge init again")

    @property
    def region(self) -> Region | None:
        """The part of each picture that is looked at; None: the whole."""
        kept = self.store.get("region")
        return Region.parse(kept) if kept else None

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
        return Path(kept) if kept and "\0" not in kept else None  # it only says where to look for more

    def put_uncertain(self, folder: Path) -> None:
        """Remember where frames of unsure answers are saved, so that `audit` finds them."""
        with self.store.transaction():
            self.store.put("uncertain", str(folder.absolute()))

    def serving(self) -> Serving:
        """The head in use; read again only after the home has changed, by us or another process.

        If it is damaged, it is the newest older one that is whole and once served, or else a newer one, and `warn` is
        told.

        Raises:
            HomeError: none is whole.
        """
        version = self.store.version()
        if self._serving is None or self._serving[0] != version:
            self._serving = version, self._load_whole(self.wanted())
        return self._serving[1]

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
            f"{self.store.path} is damaged (known_coverage {kept!r:.40}); set it anew: edge retrain --known-coverage "
            f"{COVERAGE}"
        )

    def wanted(self) -> int:
        """The number of the generation that should serve; 0, which there never is, where it cannot be read."""
        kept = self.meta("serving")
        return int(kept) if kept.isascii() and kept.isdecimal() and len(kept) < 19 else 0

    def serving_generation(self) -> Generation | None:
        """The generation in use; None if its head was overwritten, or its backbone is another one."""
        if self.store.get("serving") is None or not self.store.has_head(self.wanted()):
            return None
        try:
            stored = self.store.generation(self.serving().generation)
        except EdgeError:
            return None
        return stored if stored is not None and stored.backbone == self.info.fingerprint else None

    def retrain(self, known_coverage: float | None = None, force: bool = False) -> Retrained:
        """Fit a new head to the factory's and the local examples, and let it serve unless it is clearly worse.

        Args:
            known_coverage: from now on, in (0, 1]; 1 calls nothing unknown. None: as before.
            force: let it serve in any case.

        Raises:
            NotEnough: there are fewer than two labels.
        """
        from edge.retrain import Basis, enter, fit_anew

        start = time.perf_counter()
        with self.store.snapshot():  # others may teach meanwhile; what they teach waits for the next head
            coverage = known_coverage or self.known_coverage()
            fitted = fit_anew(self, coverage)
        with self.store.transaction():
            if known_coverage is not None:
                self.store.put("known_coverage", repr(known_coverage))
            changed = Basis.of(self, fitted.basis.last) != fitted.basis  # forgotten, relabelled or renamed meanwhile
            if changed or self.store.last_fitted() > fitted.basis.last:  # or another head knows more
                fitted = fit_anew(self, coverage)
            result = enter(self, fitted, force)
        return result._replace(total_milliseconds=1000 * (time.perf_counter() - start))

    def anything_new(self) -> bool:
        """Whether examples were taught or relabelled since the newest generation, candidate or not, was made.

        A head that was refused or rolled back is not made again of the same examples; forgetting makes its own.
        """
        return self.store.count_after(self.store.generations()[-1].generation) > 0

    def status(self) -> Status:
        """The home at a glance."""
        number = self.serving().generation
        serving = self._generation(number)
        local = Counter(e.label for e in self.store.labelled())
        held_out = Counter(e.label for e in self.store.labelled(held_out=True))
        newest = self._generation(self.store.generation_numbers()[-1])
        factory = Counter(name for name in self.factory()[1] if name is not None)
        return Status(
            home=str(self.home),
            bundle=self.bundle.manifest.name,
            backbone=self.info.name,
            format=self.model.format,
            precision=self.model.precision,
            generation=number,
            trained=serving.created,
            method=serving.method,
            loo_accuracy=serving.figures.get("loo_accuracy"),
            loo_interval=_pair(serving.figures.get("loo_interval")),
            labels=tuple(
                LabelCount(label, local[label], factory[label], held_out[label])
                for label in sorted({*local, *factory, *held_out})
            ),
            untrained_examples=self.store.count_after(number),
            region=str(self.region) if self.region else None,
            known_coverage=Gate.from_bytes(serving.gate).coverage if serving.gate else None,
            drift=drift_of(self.store.get("recent"), number),
            candidate=newest.generation if newest.generation > number and not _promoted(newest) else None,
            keeps_crops=self.keeps_crops,
        )

    def history(self) -> list[HistoryEntry]:
        """Every generation, oldest first."""
        serving = self.serving().generation
        return [
            HistoryEntry(
                generation=g.generation,
                created=g.created,
                method=g.method,
                labels=g.labels,
                local_examples=g.figures.get("local_examples", 0),
                factory_examples=g.figures.get("factory_examples", 0),
                loo_accuracy=g.figures.get("loo_accuracy"),
                loo_interval=_pair(g.figures.get("loo_interval")),
                held_out_accuracy=_share(g.figures.get("held_out_right"), g.figures.get("held_out_examples")),
                held_out_examples=g.figures.get("held_out_examples", 0),
                serving=g.generation == serving,
                usable=g.head is not None and g.backbone == self.info.fingerprint and not g.damaged,
                promoted=_promoted(g),
                refusal=g.figures.get("refusal", ""),
            )
            for g in self.store.generations()
        ]

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
                    raise HomeError(f"generation {serving} is the first usable one; there is nothing to go back to")
                generation = earlier[-1]
            chosen = next((e for e in entries if e.generation == generation), None)
            if chosen is None:
                raise HomeError(f"there is no generation {generation}; see: edge history")
            if not chosen.usable:
                raise HomeError(
                    f"generation {generation} cannot serve: it had learned from something forgotten since, is damaged, "
                    "or belongs to another backbone; see: edge history"
                )
            self._load(generation)
            self.store.put("serving", str(generation))
        return next(e for e in self.history() if e.serving)

    def find_examples(
        self, names: Sequence[str] = (), session: str | None = None, label: str | None = None
    ) -> list[Example]:
        """Find local examples by number or picture file, by session, or by label.

        Raises:
            LabelError: nothing fits one of them.
        """
        found: list[Example] = []
        for name in names:
            if name.isdecimal() and len(name) < 19 and not Path(name).exists():
                matches = self.store.examples("examples.id = ?", int(name))
            else:
                matches = self.store.examples("image = ?", photos.digest(Path(name)))
            if not matches:
                raise LabelError(f"'{name}' is no example here: give an example's number or a picture that was taught")
            found += matches
        if session is not None:
            found += self.store.examples("session = ?", session) or _nothing("session", session)
        if label is not None:
            found += self.store.examples("labels.name = ?", clean(label))
        return sorted(set(found), key=lambda e: e.id)

    def forget(self, names: Sequence[str] = (), session: str | None = None, label: str | None = None) -> Forgotten:
        """Remove examples, or a whole label with its factory examples, and refit: as if they had never been taught.

        The head after it is, byte for byte, the head that never saw them. Generations that may have learned from them
        are overwritten, in the file and in its log; the old blocks that a flash card keeps are out of reach. A serving
        head that had never seen them goes on if the new one is clearly worse.

        Args:
            names: example numbers or picture files.
            session: all of a session.
            label: the label itself and all of its examples, the factory's included.

        Raises:
            LabelError: nothing fits.
            NotEnough: fewer than two labels would be left.
        """
        from edge.retrain import refit

        with self.store.transaction():
            doomed = self.find_examples(names, session, label)
            labels: tuple[str, ...] = ()
            if label is not None:
                if self.store.label_id(clean(label)) is None:
                    _nothing("label", label)
                labels = (clean(label),)
            usable = {e.generation for e in self.history() if e.usable}
            if doomed:
                self.store.remove_examples([e.id for e in doomed])
            for name in labels:
                factory = [None if known == name else known for known in self.factory_labels()]
                self.put_factory_labels(factory)
                self.store.remove_label(name)
            made = refit(self)
            overwritten = sorted(usable - {e.generation for e in self.history() if e.usable})
        try:
            self.store.scrub()
        except HomeError as error:
            self.warn(f"careful: {error}")
        return Forgotten(len(doomed), labels, made.serving, made.promoted, tuple(overwritten))

    def relabel(self, names: Sequence[str], label: str) -> list[Example]:
        """Give examples another label, old or new; retrain to use it. Returns them as they are now.

        Raises:
            LabelError: one of them is no example here, or the label is no name.
        """
        label = clean(label)
        with self.store.transaction():
            found = self.find_examples(names)
            self.store.relabel_examples([e.id for e in found], label)
        ids = {e.id for e in found}
        return [e for e in self.store.examples() if e.id in ids]

    def rename(self, old: str, new: str) -> None:
        """Give a label another name, at once and everywhere; nothing is retrained.

        Raises:
            LabelError: the old name is not known, or the new one is taken or no name.
        """
        old, new = clean(old), clean(new)
        with self.store.transaction():
            if self.store.label_id(old) is None:
                _nothing("label", old)
            self.store.rename_label(old, new)

    def trust(self, key: Key | None = None, remove: str | None = None) -> None:
        """Pin a key, or pin one no longer.

        Args:
            key: from now on only bundles signed by a pinned key are adopted, and none older than the newest of these.
            remove: a pinned key's fingerprint, comment or line.

        Raises:
            SignatureError: no such key is pinned.
        """
        with self.store.transaction():
            trusted = pins(self.store).plus(key)
            if remove is not None:
                trusted = trusted.minus(remove)
            put_pins(self.store, trusted.counting(self.bundle))

    def trusted(self) -> Trusted:
        """The pinned keys, and what is known of the adopted bundle's signature."""
        trusted = pins(self.store)
        signer, problem = None, ""
        try:
            signer = trusted.check(self.bundle)
        except (SignatureError, RuntimeMissing) as error:
            problem = str(error)
        return Trusted(
            keys=tuple(TrustedKey(key.fingerprint, key.comment) for key in trusted.keys),
            bundle=self.bundle.manifest.name,
            signed=self.bundle.manifest.signed if signer else None,
            key=signer.fingerprint if signer else None,
            problem=problem,
        )

    @property
    def keeps_crops(self) -> bool:
        """Whether a small JPEG of what the network sees of each taught picture is kept."""
        return self.store.get("keep_crops") == "1"

    def now(self) -> str:
        """The time, as it is stored: ISO 8601, to the second."""
        return self._clock().isoformat(timespec="seconds")

    def factory(self) -> tuple[FactoryExamples, list[str | None]]:
        """The factory's examples, and each one's label by its name here today; None for a forgotten one."""
        examples = self.bundle.examples()
        names = self.factory_labels()
        if len(names) != len(self.bundle.manifest.labels):
            raise self._without_factory(f"{len(names)} for {len(self.bundle.manifest.labels)} labels")
        return examples, [names[i] for i in examples.labels]

    def factory_labels(self) -> list[str | None]:
        """The manifest's labels by the names they have here today; None for a forgotten one.

        Raises:
            HomeError: what is kept of them is damaged.
        """
        names = self.store.labels()
        try:
            return [None if i is None else names[i] for i in read_ids(self.meta("factory_labels"))]
        except (ValueError, KeyError) as error:
            raise self._without_factory(str(error)) from error

    def _without_factory(self, why: str) -> HomeError:
        return HomeError(
            f"{self.store.path} is damaged (the factory's labels: {why}); adopt its bundle again: edge init NAME.edge, "
            "or restore a backup: edge restore FILE"
        )

    def put_factory_labels(self, labels: Sequence[str | None]) -> None:
        """Set by which names the manifest's labels are known here; part of the caller's transaction."""
        ids = [None if name is None else self.store.add_label(name) for name in labels]
        self.store.put("factory_labels", json.dumps(ids))

    def meta(self, key: str) -> str:
        """Return a value that every home has.

        Raises:
            HomeError: it is missing; the database is damaged.
        """
        value = self.store.get(key)
        if value is None:
            raise HomeError(f"{self.store.path} is damaged (no {key}); restore a copy, or run edge init again")
        return value

    def _bundle_name(self) -> str:
        name = self.meta("bundle")
        if not re.fullmatch(r"[0-9a-f]{16}\.edge", name):
            raise HomeError(
                f"{self.store.path} is damaged ({name!r:.60} is no bundle's name); adopt it again: edge init "
                "NAME.edge, or restore a backup: edge restore FILE"
            )
        return name

    def _generation(self, number: int) -> Generation:
        found = self.store.generation(number)
        if found is None:
            raise HomeError(f"generation {number} is missing; run: edge retrain")
        return found

    def _load_whole(self, wanted: int) -> Serving:
        """Load a generation, or, if it is damaged, the one to fall back to."""
        try:
            return self._load(wanted)
        except EdgeError as error:
            others = [number for number in self.store.generation_numbers() if number != wanted]
            for number in sorted(others, key=lambda n: (n > wanted, -n)):
                with contextlib.suppress(EdgeError):
                    stored = self._generation(number)
                    if stored.backbone == self.info.fingerprint and _promoted(stored):
                        found = self._load(number)
                        if self._warned != wanted:
                            self.warn(
                                f"ATTENTION: {_called(wanted)}, which should serve, is damaged; generation {number} "
                                "serves instead; look at everything: edge verify; then make a new head: edge retrain"
                            )
                            self._warned = wanted
                        return found
            raise HomeError(f"{error}; no other generation is whole") from error

    def _load(self, number: int) -> Serving:
        head, gate = unpack(self._generation(number), self.info.dimension)
        known = gate is not None and gate.background == self.background.digest()  # else a bundle brought another since
        return Serving(number, head, Judge(gate, self.background) if gate and known else None)


def _called(wanted: int) -> str:
    return f"generation {wanted}" if wanted else "the number of the generation"


def _nothing(kind: str, name: str) -> NoReturn:
    raise LabelError(f"no {kind} '{name}' here; see: edge status")


def _pair(values: Sequence[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])


def _share(right: int | None, total: int | None) -> float | None:
    return right / total if right is not None and total else None


def _promoted(generation: Generation) -> bool:
    return bool(generation.figures.get("promoted", True))
