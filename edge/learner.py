"""The learner: a home with its network. Where all parts meet.

One method a command. Data flows one way: picture file → pixels (`preprocess`) → embedding (`backbone`) → scores
(`head`) → `Answer`.

    examples of the factory (in the bundle) ┐
                                            ├─ fit → head, generation n ─ serving
    examples taught here (in the store)     ┘
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from edge.answers import Answer, Audited, Evaluated, Exported, Guess, Skipped, Taught, TaughtFolders, rows
from edge.errors import BundleError, EdgeError, ImageError
from edge.files import check_output, replacing
from edge.home.examples import Embedded, Example
from edge.home.serving import Serving
from edge.home.state import Clock, Home, Warn, in_turn, unheard, utc_now
from edge.home.store import Store
from edge.labels import clean
from edge.learning.domain_check import DomainCheck, Looks, nearest
from edge.network import backbone, photos
from edge.picture.classes import labelled, refuse_labels
from edge.picture.count import Left, count, together
from edge.picture.find import find
from edge.picture.frame import Frame, Picture
from edge.picture.given import PictureLike, is_one, paths, several
from edge.system.filename import stored
from edge.unknown import drift
from edge.unknown.domain import Look

if TYPE_CHECKING:
    from edge.bundle.signature import Key

BATCH = 64  # pictures taught a transaction: a power cut loses at most these
TOP = 5  # guesses listed in an answer
RECENT = 100  # frames saved by `watch` that an audit looks at
FLUSH = 500  # frames kept in memory before they are noted in the home
FORMATS: dict[str, Literal["onnx", "tflite"]] = {".onnx": "onnx", ".tflite": "tflite"}


class Learner(Home):
    """An open home that can look at pictures. Its methods may be called from any thread; they take turns.

    Args:
        home: the folder that `Learner.init` or `edge init` made.
        clock: tells the time for what is stored.
        warn: is told, in one line, of damage that was found and got round.
        network: runs in place of the bundle's network, if it gives the same embeddings of the bundle's golden pictures:
            one of `edge.testing`, or of a runtime of your own.
        store: the home's database, where it is open already.

    Raises:
        HomeMissing, HomeBusy, HomeError: there is no such home, or it cannot be used.

    >>> import tempfile
    >>> from edge.testing import new_learner, surface
    >>> with new_learner(tempfile.mkdtemp()) as learner:
    ...     _ = learner.teach("coins", [surface("coins", seed) for seed in range(10)])
    ...     _ = learner.retrain()
    ...     learner.classify(surface("coins", seed=99)).label
    'coins'
    """

    def __init__(
        self,
        home: str | Path,
        clock: Clock = utc_now,
        warn: Warn = unheard,
        *,
        network: backbone.Backbone | None = None,
        store: Store | None = None,
    ) -> None:
        super().__init__(home, clock, warn, store=store)
        self.network = network
        self._proved: str | None = None  # the file of the bundle's network that `network` gives the embeddings of
        self._backbones: dict[tuple[str, int | None], backbone.Backbone] = {}  # by its file's SHA-256 and threads
        self._seen: tuple[Serving, list[drift.Seen]] | None = None  # the frames that this process classified
        self._looks: Looks | None = None

    @classmethod
    def init(
        cls,
        home: str | Path,
        bundle: str | Path,
        format: str | None = None,
        precision: str | None = None,
        keep_crops: bool | None = None,
        clock: Clock = utc_now,
        trust: "Key | None" = None,
        labels: Sequence[str] = (),
        network: backbone.Backbone | None = None,
        step: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Self:
        """Make a home of a bundle, or give a home a newer bundle, and open it.

        Args:
            home: the folder; made if there is none.
            bundle: the file.
            format: "onnx" or "tflite"; None: what an installed runtime can run.
            precision: "fp32" or "int8"; None: fp32 where the bundle has it.
            keep_crops: keep a small JPEG of what the network sees of each picture taught; None: as it was, at first no.
            clock: tells the time for what is stored.
            trust: a key to pin from now on; the bundle must be signed by it, or by one pinned already.
            labels: labels of the bundle to take though they were forgotten here; the others that were stay forgotten.
            network: runs in place of the bundle's, as in `Learner`.
            step: is told how many examples of another backbone are embedded again, of how many.

        Raises:
            BundleError, ParityError: the bundle is refused, by name of what is wrong.
            SignatureError: a key is pinned, and the bundle is not signed by one that is, or is older.
            RuntimeMissing: nothing here can run it, or check its signature.
            LabelError: the bundle has no such label.
            HomeError: the home cannot be used, or was taught on another backbone without keeping crops.
        """
        from edge.learning.init import init

        home, bundle = Path(home).expanduser(), Path(bundle).expanduser()
        store = init(home, bundle, format, precision, keep_crops, clock, trust, labels, network, step)
        return cls(home, clock, network=network, store=store)

    @in_turn
    def backbone(self, pictures: int = 1) -> backbone.Backbone:
        """The network, loaded at first use.

        Args:
            pictures: how many are to be embedded; few get all cores each, many get one each and go side by side.
        """
        threads = 1 if pictures >= (os.cpu_count() or 1) else None
        model, opened = self.model, self.bundle
        if self.network is not None:
            digest = opened.manifest.files[model.file].sha256
            if self._proved != digest:
                golden = opened.golden()
                backbone.prove(self.network, golden.images, golden.embeddings, model.precision, "the network given")
                self._proved = digest
            return self.network
        key = (opened.manifest.files[model.file].sha256, threads)
        if key not in self._backbones:
            runtime = backbone.find_runtime({model.format})
            self._backbones[key] = backbone.open_backbone(opened.entry(model.file), runtime, threads)
        return self._backbones[key]

    def close(self) -> None:
        """Note the classified frames for the drift, and close the database."""
        with self.lock:
            try:
                with contextlib.suppress(EdgeError):  # what cannot be noted, on a full or damaged disk, may be lost
                    self._note_seen()
            finally:
                super().close()

    def embed(
        self,
        files: Sequence[Picture],
        known: Collection[str] = frozenset(),
        look: bool = False,
        crops: bool = False,
    ) -> Iterator[photos.Photo]:
        """Look at pictures as this home does, cut to its region: whatever views them comes here. As `photos.embed`."""
        return photos.embed(files, self.backbone(len(files)), self.info, known, look, self.region, crops)

    @overload
    def classify(self, pictures: PictureLike, explain: bool = False) -> Answer: ...  # type: ignore[overload-overlap]

    @overload
    def classify(self, pictures: Iterable[PictureLike], explain: bool = False) -> list[Answer]: ...

    def classify(self, pictures: PictureLike | Iterable[PictureLike], explain: bool = False) -> Answer | list[Answer]:
        """Name what is on a picture, or on each of several.

        Args:
            pictures: one picture, or a list or other iterable of them.
            explain: name the nearest taught examples as well.

        Returns:
            The answer for one picture; a list of answers, in their order, for several.

        Raises:
            ImageError: one cannot be read; to go on past it, use `classify_each`.
        """
        answers: list[Answer] = []
        with self.lock:
            serving, seen = self._look(pictures)
            for photo in seen:
                if photo.error is not None:
                    raise photo.error
                answers.append(self._answer(serving, photo, explain))
        return answers[0] if is_one(pictures) else answers

    def classify_each(
        self, pictures: PictureLike | Iterable[PictureLike], explain: bool = False
    ) -> Iterator[Answer | Skipped]:
        """Name pictures one after another, in their order; one that cannot be read gives a `Skipped`.

        Args:
            pictures: as `classify`.
            explain: as `classify`.
        """
        serving, seen = self._look(pictures)
        for photo in seen:
            yield _skipped(photo) if photo.error is not None else self._answer(serving, photo, explain)

    @in_turn
    def _look(self, pictures: PictureLike | Iterable[PictureLike]) -> "tuple[Serving, Iterator[photos.Photo]]":
        serving = self.serving()
        return serving, self.embed(several(pictures), look=serving.judge is not None)

    @in_turn
    def _answer(self, serving: Serving, photo: photos.Photo, explain: bool) -> Answer:
        embedding = photo.embedding
        assert embedding is not None
        start = time.perf_counter()
        probabilities = serving.head.probabilities(embedding[None])[0]
        best = np.argsort(-probabilities, kind="stable")[:TOP]
        top = tuple(Guess(serving.head.labels[i], float(probabilities[i])) for i in best)
        unknown = self._unknown(serving, embedding, int(best[0]), photo.look)
        return Answer(
            image=str(photo.path),
            label=None if unknown else top[0].label,
            unknown=unknown,
            probability=top[0].probability,
            top=top,
            generation=serving.generation,
            milliseconds=photo.milliseconds + 1000 * (time.perf_counter() - start),
            nearest=nearest(self, embedding) if explain else (),
        )

    @in_turn
    def teach(
        self,
        label: str,
        pictures: PictureLike | Iterable[PictureLike],
        session: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        held_out: bool = False,
    ) -> Taught:
        """Store pictures as examples of a label, old or new. Retrain to use them.

        Args:
            label: its name.
            pictures: one picture or folder of pictures, or a list or other iterable of them.
            session: name shared by pictures that are nearly the same (a burst); they are left out together when the
                head is judged. None: each picture stands for itself.
            progress: called with (done, total) after each file.
            held_out: no head is ever fitted to them; each is asked about them before it may serve.

        Returns:
            What was stored, and which files of a folder were not, with the reason. A picture is known by the SHA-256 of
            its file or pixels: taught twice, it is stored once, under its first label.

        Raises:
            LabelError: the name is none.
            ImageError: a picture that was named itself cannot be read, the others are stored; a path does not exist or
                a folder holds no picture, nothing is stored. To go on past such pictures, use `teach_each`.
            HomeError: the home cannot be written; what was stored before stays.
        """
        given = several(pictures)
        return self._gather(label, given, session, progress, held_out, {str(one) for one in given})

    @in_turn
    def teach_each(
        self,
        label: str,
        pictures: PictureLike | Iterable[PictureLike],
        session: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        held_out: bool = False,
    ) -> Taught:
        """Store pictures as `teach` does, but list those that cannot be read in `Taught.unreadable`.

        Args, Returns, Raises: as `teach`.
        """
        return self._gather(label, several(pictures), session, progress, held_out, ())

    def _gather(
        self,
        label: str,
        given: Sequence[Picture],
        session: str | None,
        progress: Callable[[int, int], None] | None,
        held_out: bool,
        needed: Collection[str],
    ) -> Taught:
        label = clean(label)
        files: list[Picture] = []
        left: list[Left] = []
        for path in given:
            if isinstance(path, Frame):
                files.append(path)
                continue
            found = find([path])
            if path.is_dir():
                refuse_labels(path, found.files, label, self.store.labels().values())
            files += found.files
            left += found.left
        return self._teach(label, files, left, session, progress, held_out, needed)

    @in_turn
    def teach_folders(
        self,
        folder: str | Path,
        session: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        held_out: bool = False,
    ) -> TaughtFolders:
        """Store the pictures of a folder of class folders, each as an example of the label that its folder is named by.

        Of a folder in parts, what lies in `val` is held out.

        Args:
            folder: `folder/LABEL/*.jpg`, or `folder/train/LABEL/*.jpg` and `folder/val/…`.
            session: as `teach`.
            progress: as `teach`.
            held_out: as `teach`, for all of them.

        Raises:
            DatasetError: that is not what the folder holds.
            LabelError: a folder's name is no label.
            HomeError: the home cannot be written; what was stored before stays.
        """
        folder = Path(folder).expanduser()
        found = labelled(folder)
        parts: dict[tuple[str, bool], list[Picture]] = {}
        for file, label, held in zip(found.files, found.names, found.held, strict=True):
            parts.setdefault((label, held or held_out), []).append(file)
        taught: list[Taught] = []
        for (label, held), files in parts.items():
            before = sum(one.files.seen for one in taught)

            def step(done: int, _: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, len(found.files))

            taught.append(self._teach(label, files, (), session, step, held))
        counted = together([*(one.files for one in taught), count(0, found.left)])
        contradictions = tuple(Skipped(str(one.path), one.detail) for one in found.contradictions)
        return TaughtFolders(str(folder), found.layout, tuple(taught), contradictions, counted)

    def _teach(
        self,
        label: str,
        files: Sequence[Picture],
        left: Sequence[Left],
        session: str | None,
        progress: Callable[[int, int], None] | None,
        held_out: bool,
        needed: Collection[str] = (),
    ) -> Taught:
        start = time.perf_counter()
        beside = self.beside(label)  # before it is a label here
        first_of = {e.image: e for e in self.store.examples()}
        new: set[str] = set()
        taught: list[int] = []
        known: list[Skipped] = []
        unreadable: list[Skipped] = []
        failed: ImageError | None = None  # of a picture that the caller needs
        batch: list[Embedded] = []
        check = DomainCheck(self, label)
        for done, photo in enumerate(self.embed(files, first_of.keys(), look=True, crops=self.keeps_crops), 1):
            check.add(photo)
            if photo.error is not None:
                unreadable.append(_skipped(photo))
                failed = failed or (photo.error if str(photo.path) in needed else None)
            elif photo.embedding is None:
                known.append(Skipped(str(photo.path), _known(first_of[photo.image], label), "known"))
            elif photo.image in new:
                reason = f"the same picture as another of these, taught as '{label}'"
                known.append(Skipped(str(photo.path), reason, "copy"))
            else:
                new.add(photo.image)
                source = _source(files[done - 1])
                batch.append(Embedded(label, photo.embedding, photo.image, source, photo.look, photo.crop))
            if len(batch) == BATCH:
                taught += self._store(batch, session, held_out)
                batch.clear()
            if progress is not None:
                progress(done, len(files))
        taught += self._store(batch, session, held_out)
        if failed is not None:
            others = f"; the other {len(taught):,} were stored" if len(files) > 1 else ""
            raise ImageError(failed.code, f"{failed}{others}", failed.reason)
        return Taught(
            label,
            tuple(taught),
            held_out,
            tuple(known),
            tuple(unreadable),
            1000 * (time.perf_counter() - start),
            (*(beside if taught else ()), *check.lines()),
            count(len(taught), [*left, *_left(unreadable), *_left(known)]),
        )

    @in_turn
    def evaluate(self, folder: str | Path) -> Evaluated:
        """Classify a folder of class folders and compare with the folders' names; of one in parts, what is held out.

        Accuracy and confusion are the head's, whether or not `classify` would have called the picture unknown; that is
        counted beside them.

        Args:
            folder: `folder/LABEL/*.jpg`.

        Raises:
            ImageError: there is no such folder, or no picture in it.
        """
        folder = Path(folder).expanduser()
        found = labelled(folder)
        listed = list(zip(found.files, found.names, found.held, strict=True))
        asked = any(found.held)
        files = [(file, label) for file, label, held in listed if held or not asked]
        left = [*found.left, *(Left(file, "other-part") for file, _, held in listed if asked and not held)]
        serving = self.serving()
        truths: list[str] = []
        embeddings: list[NDArray[np.float32]] = []
        unreadable: list[Skipped] = []
        pictures = self.embed([file for file, _ in files])
        for photo, (_, label) in zip(pictures, files, strict=True):
            if photo.embedding is None:
                unreadable.append(_skipped(photo))
            else:
                truths.append(label)
                embeddings.append(photo.embedding)
        if not truths:
            raise ImageError(
                "no-pictures", f"none of the {len(files)} pictures in {folder} can be read; see them with edge classify"
            )
        from edge.metrics.evaluate import evaluate
        from edge.metrics.unmeasured import ENOUGH, Missing, told

        labels = serving.head.labels
        untaught = tuple(sorted(set(truths) - set(labels)))
        probabilities = serving.head.probabilities(np.stack(embeddings))
        never = np.zeros((len(truths), len(untaught)))  # a head cannot answer with a label that it does not have
        judged = evaluate(np.hstack([probabilities, never]), truths, (*labels, *untaught), held_out=True)
        columns = probabilities.argmax(axis=1).tolist()
        unknown = (
            [bool(self._unknown(serving, x, i)) for x, i in zip(embeddings, columns, strict=True)]
            if serving.judge
            else []
        )
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
            layout=f"only {found.parts[1]} is asked" if asked else "",
            contradictions=tuple(Skipped(str(one.path), one.detail) for one in found.contradictions),
            files=count(len(truths), [*left, *_left(unreadable)]),
        )

    @in_turn
    def audit(self, pictures: str | Path | Iterable[str | Path] = (), html: str | Path | None = None) -> Audited:
        """Look for what is wrong with the examples taught here, and for what to teach next. Changes nothing.

        Args:
            pictures: a file or folder, or several, not taught yet, to choose from what to teach next. None: the
                newest frames that `watch` saved.
            html: where to write it as one self-contained page; None: nowhere.

        Raises:
            NotEnough: nothing was taught here yet.
            ImageError: a path does not exist or a folder holds no picture.
            BundleError: the page cannot be written there, or would replace a file of another kind.
            OSError: the disk refuses the page.
        """
        from edge.audit.findings import audit, least_sure
        from edge.picture.find import saved

        if html is not None:
            html = Path(html).expanduser()
            check_output(html, "audit.html", "a page that edge audit wrote", b"<title>Audit of ")
        named = paths(pictures)
        given = find(named)
        files: Sequence[Path] = given.files
        watched = None if named else self.uncertain
        if watched is not None:
            files = saved(watched)[: -RECENT - 1 : -1]
        known = {e.image for e in self.store.examples()}
        seen: list[photos.Photo] = list(self.embed(files, known)) if files else []
        fresh = [(photo.path, photo.embedding) for photo in seen if photo.embedding is not None]
        unsure = []
        if fresh:
            serving, embeddings = self.serving(), np.stack([embedding for _, embedding in fresh])
            p, seen_files = serving.head.probabilities(embeddings), [path for path, _ in fresh]
            columns = p.argmax(axis=1).tolist()
            unknown = [bool(self._unknown(serving, x, c)) for x, c in zip(embeddings, columns, strict=True)]
            unsure = least_sure(seen_files, embeddings, p, unknown, serving.head.labels)
        unreadable = [_skipped(photo) for photo in seen if photo.error is not None]
        known_ones = [Left(photo.path, "known") for photo in seen if photo.error is None and photo.embedding is None]
        counted = count(len(fresh), [*given.left, *_left(unreadable), *known_ones])
        found = audit(self, unsure, unreadable, watched)
        answer = found.answer._replace(files=counted)
        if html is None:
            return answer
        from edge.audit.page import page

        text = page(self, found, self.now())
        with replacing(html) as partial:
            partial.write_text(stored(text), encoding="utf-8")
        return answer._replace(page=str(html))

    @in_turn
    def export(self, path: str | Path, labels: str | Path | None = None) -> Exported:
        """Write backbone and serving head as one ONNX or TFLite file that needs no code of ours.

        Args:
            path: its ending, .onnx or .tflite, says which. The precision is the home's where the bundle has it so.
            labels: where to write the list of labels, one a line, in the order of the probabilities; ends in .txt.

        Raises:
            BundleError: another ending, the bundle brought no model in that format, or a path cannot be written or
                holds something else.
        """
        path, labels = Path(path).expanduser(), Path(labels).expanduser() if labels else None
        kind = FORMATS.get(path.suffix.lower())
        if kind is None:
            raise BundleError("output-unwritable", f"{path} ends in neither .onnx nor .tflite; name it so")
        models = {m.precision: m for m in self.bundle.manifest.models if m.format == kind}
        model = models.get(self.store.meta("precision")) or next(iter(models.values()), None)
        if model is None:
            held = ", ".join(m.file for m in self.bundle.manifest.models)
            raise BundleError(
                "bundle-lacks-model", f"this bundle brought no {kind} model, it brought {held}; choose another ending"
            )
        from edge.learning import classifier_file as files
        from edge.modelfile.graft import graft

        serving = self.serving()
        head = serving.head
        files.check_model(path, kind)
        if labels:
            files.check_list(labels, head.labels)
        data = graft(
            self.bundle.entry(model.file),
            kind,
            head.weights / head.temperature,
            head.bias / head.temperature,
            head.labels,
        )
        files.write(path, data)
        if labels:
            files.write(labels, files.as_list(head.labels))
        return Exported(str(path), kind, len(data), head.labels, serving.generation, str(labels) if labels else None)

    def _store(self, batch: Sequence[Embedded], session: str | None, held_out: bool) -> list[int]:
        if not batch:
            return []
        with self.store.transaction():
            fingerprint, now = self.info.fingerprint, self.now()
            return [self.store.add_example(item, fingerprint, session, now, held_out) for item in batch]

    def _unknown(
        self, serving: Serving, embedding: NDArray[np.float32], column: int, look: Look | None = None
    ) -> bool | None:
        """Whether a picture, which the head would name by `column`, is unknown; with its look, noted for the drift."""
        if serving.judge is None:
            return None
        similarity = serving.judge.similarity(embedding)
        unknown = serving.judge.unknown(similarity, column)
        if look is not None and unknown is not None:
            if self._seen is None or self._seen[0].generation != serving.generation:
                self._note_seen()
                self._seen, self._looks = (serving, []), Looks(self)
            rank = -1 if unknown else round(100 * serving.judge.rank(similarity, column))
            self._seen[1].append(drift.Seen(rank, self._looks.word(look) if self._looks else ""))
            if len(self._seen[1]) >= FLUSH:
                self._note_seen()
        return unknown

    def _note_seen(self) -> None:
        if self._seen is None:
            return
        (serving, seen), self._seen = self._seen, None
        if serving.judge and seen:
            expected = 1 - serving.judge.gate.coverage
            self.store.note("recent", drift.note(self.store.get("recent"), serving.generation, seen, expected))


def _known(example: Example, label: str) -> str:
    if example.label == label:
        return f"known already, as example {example.id}"
    return f"known already as '{example.label}'; to change it: edge relabel {label} {example.id}"


def _skipped(photo: photos.Photo) -> Skipped:
    return Skipped(str(photo.path), str(photo.error), photo.error.reason if photo.error else "known")


def _left(skipped: Sequence[Skipped]) -> list[Left]:
    return [Left(Path(one.image), one.kind) for one in skipped]


def _source(path: Picture) -> str:
    return stored(path.name if isinstance(path, Frame) else str(path.absolute()))
