"""The learner: a home with its network, and everything that can be done with them.

There is one method per verb. Each takes its turn and calls the function in `learning` or `retraining` that does the
work. Data flows one way:
picture file → pixels (`preprocess`) → embedding (`backbone`) → scores (`head`) → `Answer`.

    examples of the factory (in the bundle) ┐
                                            ├─ fit → head, generation n ─ serving
    examples taught here (in the store)     ┘
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

from edge.answers import (
    Answer,
    Audited,
    Contributed,
    Evaluated,
    Exported,
    FleetState,
    Followed,
    Forgotten,
    HistoryEntry,
    Renamed,
    Retrained,
    Skipped,
    Status,
    Taught,
    TaughtFolders,
    Trusted,
)
from edge.errors import EdgeError
from edge.home.examples import Example
from edge.home.serving import Serving
from edge.home.state import Clock, Home, Names, Warn, in_turn, unheard, utc_now
from edge.home.store import Store
from edge.learning import correct, teaching
from edge.learning.answering import Answering, skipped
from edge.network import backbone, photos
from edge.picture.frame import Picture
from edge.picture.given import PictureLike, is_one, paths, several
from edge.system.memory import trim

if TYPE_CHECKING:
    from edge.bundle.signature import Key


class Learner(Home):
    """An open home with its network. Its methods may be called from any thread; they take turns.

    Args:
        home: the folder created by `Learner.init` or `edge init`.
        clock: returns the time that is stored with examples and generations.
        warn: called with one line if damage was found and bypassed.
        network: runs instead of the bundle's network, if it gives the same embeddings of the bundle's golden pictures:
            one of `edge.testing`, or a runtime of your own.
        store: the home's database, if it is open already.

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
        self._answering = Answering(self)

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
        """Install a bundle in a new or existing home, and open it.

        Args:
            home: the folder; it is created if it does not exist.
            bundle: the bundle's file.
            format: "onnx" or "tflite"; None for the first that an installed runtime can run.
            precision: "fp32" or "int8"; None for fp32 if the bundle has it.
            keep_crops: whether to store a small JPEG of each picture that is taught; None to keep the setting, which
                is False at first.
            clock: returns the time that is stored with examples and generations.
            trust: a public key to trust from now on; the bundle must be signed with it or another trusted key.
            labels: labels of the bundle to bring back that were forgotten here; the others stay forgotten.
            network: runs instead of the bundle's network, as in `Learner`.
            step: called with (done, total) while examples of another backbone are embedded again.

        Raises:
            BundleError, ParityError: the bundle is damaged or does not work here; the message says what is wrong.
            SignatureError: a key is trusted, and the bundle is not signed with a trusted key, or is too old.
            RuntimeMissing: no installed runtime can run the bundle, or its signature cannot be checked here.
            LabelError: the bundle has no such label.
            HomeError: the home cannot be used, or was taught on another backbone without keeping crops.
        """
        from edge.learning.init import init

        home, bundle = Path(home).expanduser(), Path(bundle).expanduser()
        store = init(home, bundle, format, precision, keep_crops, clock, trust, labels, network, step)
        return cls(home, clock, network=network, store=store)

    @in_turn
    def backbone(self, pictures: int = 1) -> backbone.Backbone:
        """Return the network, which is loaded at first use.

        Args:
            pictures: the number of pictures to embed: a few use all cores one after the other, many share them.
        """
        at_once = photos.at_once(pictures)
        threads = photos.cores() // at_once if at_once > 1 else None
        model, opened = self.model, self.bundle
        if self.network is not None:
            digest = opened.manifest.files[model.file].sha256
            if self._proved != digest:
                from edge.network import parity

                golden = opened.golden()
                parity.prove(self.network, golden.images, golden.embeddings, model.precision, "the network given")
                self._proved = digest
            return self.network
        key = (opened.manifest.files[model.file].sha256, threads)
        if key not in self._backbones:
            runtime = backbone.find_runtime({model.format})
            self._backbones.clear()  # two would take twice the memory
            self._backbones[key] = backbone.open_backbone(opened.entry(model.file), runtime, threads)
        return self._backbones[key]

    def close(self) -> None:
        """Store the looks of the classified frames, for the drift warning, and close the database."""
        with self.lock:
            try:
                with contextlib.suppress(EdgeError):  # what cannot be noted, on a full or damaged disk, may be lost
                    self._answering.note()
            finally:
                super().close()

    def embed(
        self,
        files: Sequence[Picture],
        known: Collection[str] = frozenset(),
        look: bool = False,
        crops: bool = False,
    ) -> Iterator[photos.Photo]:
        """Embed pictures, cropped to this home's region, as `photos.embed` does."""
        return photos.embed(files, self.backbone(len(files)), self.info, known, look, self.region, crops)

    @overload
    def classify(self, pictures: PictureLike, explain: bool = False) -> Answer: ...  # type: ignore[overload-overlap]

    @overload
    def classify(self, pictures: Iterable[PictureLike], explain: bool = False) -> list[Answer]: ...

    def classify(self, pictures: PictureLike | Iterable[PictureLike], explain: bool = False) -> Answer | list[Answer]:
        """Classify one picture, or each of several.

        Args:
            pictures: one picture, or a list or other iterable of pictures.
            explain: also list the most similar examples.

        Returns:
            The answer for one picture; a list of answers, in the same order, for several.

        Raises:
            ImageError: a picture cannot be read; to skip such pictures, use `classify_each`.
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
        """Classify pictures one after another, in order; a picture that cannot be read gives a `Skipped`.

        Args:
            pictures, explain: as in `classify`.
        """
        serving, seen = self._look(pictures)
        for photo in seen:
            yield skipped(photo) if photo.error is not None else self._answer(serving, photo, explain)

    @in_turn
    def _look(self, pictures: PictureLike | Iterable[PictureLike]) -> "tuple[Serving, Iterator[photos.Photo]]":
        serving = self.serving()
        return serving, self.embed(several(pictures), look=serving.detector is not None)

    @in_turn
    def _answer(self, serving: Serving, photo: photos.Photo, explain: bool) -> Answer:
        return self._answering.answer(serving, photo, explain)

    @in_turn
    def teach(
        self,
        label: str,
        pictures: PictureLike | Iterable[PictureLike],
        session: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        held_out: bool = False,
    ) -> Taught:
        """Store pictures as examples of a label, which may be new. They are used after the next `retrain`.

        Args:
            label: the label.
            pictures: one picture or folder of pictures, or a list or other iterable of them.
            session: a name shared by nearly identical pictures (a burst); they are left out together when accuracy is
                measured. None if the pictures are independent.
            progress: called with (done, total) after each file.
            held_out: do not train on these pictures; use them to measure each new generation.

        Returns:
            The examples that were stored, and the files of a folder that were not, with the reason. A picture is
            identified by the SHA-256 of its file or pixels: taught twice, it is stored once, under its first label.

        Raises:
            LabelError: the name is not a valid label.
            ImageError: a single picture cannot be read (the others are stored), or a path does not exist or a folder
                contains no picture (nothing is stored). To skip such pictures, use `teach_each`.
            HomeError: the home cannot be written; examples stored so far are kept.
        """
        given = several(pictures)
        return teaching.teach(self, self.embed, label, given, session, progress, held_out, {str(one) for one in given})

    @in_turn
    def teach_each(
        self,
        label: str,
        pictures: PictureLike | Iterable[PictureLike],
        session: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        held_out: bool = False,
    ) -> Taught:
        """Store pictures as `teach` does, but list pictures that cannot be read in `Taught.unreadable`.

        Args, Returns, Raises: as in `teach`.
        """
        return teaching.teach(self, self.embed, label, several(pictures), session, progress, held_out, ())

    @in_turn
    def teach_folders(
        self,
        folder: str | Path,
        session: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        held_out: bool = False,
    ) -> TaughtFolders:
        """Store the pictures in every subfolder as examples of the label after which the subfolder is named.

        If the folder has parts, the pictures in `val` are held out.

        Args:
            folder: `folder/LABEL/*.jpg`, or `folder/train/LABEL/*.jpg` and `folder/val/…`.
            session, progress, held_out: as in `teach`, for all pictures.

        Raises:
            DatasetError: the folder is not of this form.
            LabelError: the name of a subfolder is not a valid label.
            HomeError: the home cannot be written; examples stored so far are kept.
        """
        return teaching.teach_folders(self, self.embed, Path(folder).expanduser(), session, progress, held_out)

    @in_turn
    def evaluate(self, folder: str | Path) -> Evaluated:
        """Measure accuracy on a folder with one subfolder per label; if it has parts, on its validation part.

        Accuracy and confusion ignore *unknown*; the pictures that `classify` would report as unknown are counted
        separately.

        Args:
            folder: `folder/LABEL/*.jpg`.

        Raises:
            ImageError: the folder does not exist, or contains no picture.
        """
        from edge.learning.measure import measure

        return measure(self, self._answering, self.embed, Path(folder).expanduser())

    @in_turn
    def audit(self, pictures: str | Path | Iterable[str | Path] = (), html: str | Path | None = None) -> Audited:
        """Find problems in the examples taught here, and suggest what to teach next. Nothing is changed.

        Args:
            pictures: files or folders of pictures that could be taught; the most useful ones are listed. None for the
                newest frames that `watch` saved.
            html: path for an HTML report, or None.

        Raises:
            NotEnough: nothing was taught here yet.
            ImageError: a path does not exist, or a folder contains no picture.
            BundleError: the report cannot be written there, or would replace a file of another kind.
            OSError: the disk refuses the report.
        """
        from edge.learning.audit import audit_home

        page = Path(html).expanduser() if html is not None else None
        return audit_home(self, self._answering, self.embed, paths(pictures), page)

    @in_turn
    def export(self, path: str | Path, labels: str | Path | None = None) -> Exported:
        """Write the backbone and the current head to one ONNX or TFLite file that runs without this program.

        Args:
            path: the file; its suffix, .onnx or .tflite, chooses the format. The precision is that of the home if the
                bundle has it in this format.
            labels: a .txt file for the labels, one per line, in the order of the probabilities; or None.

        Raises:
            BundleError: the suffix is wrong, the bundle has no model in that format, or a path cannot be written or is
                a file of another kind.
        """
        from edge.learning.classifier_file import export

        return export(self, Path(path).expanduser(), Path(labels).expanduser() if labels else None)

    @in_turn
    def retrain(self, known_coverage: float | None = None, force: bool = False) -> Retrained:
        """Train a new head on the bundle's and the local examples, and use it unless it is clearly worse.

        The network leaves memory meanwhile, as a fit needs as much for a moment; the next picture loads it again.

        Args:
            known_coverage: fraction of known pictures that must not be reported as unknown, in (0, 1]; 1 turns unknown
                off. It is remembered. None to keep the setting.
            force: use the new head even if it is clearly worse.

        Raises:
            NotEnough: there are fewer than two labels.
        """
        from edge.retraining.retrain import retrain

        self._backbones.clear()
        trim()
        return retrain(self, known_coverage, force)

    @in_turn
    def anything_new(self) -> bool:
        """Whether examples were taught or relabelled since the newest generation, used or not, was trained.

        A head that was refused or rolled back is not trained again on the same examples; `forget` trains its own.
        """
        return self.store.count_after(self.store.generation_numbers()[-1]) > 0

    @in_turn
    def status(self) -> Status:
        """Return the bundle, labels and accuracy of the home."""
        from edge.learning.overview import status

        return status(self)

    @in_turn
    def history(self) -> list[HistoryEntry]:
        """Return every generation, oldest first."""
        from edge.learning.overview import history

        return history(self)

    @in_turn
    def rollback(self, generation: int | None = None) -> HistoryEntry:
        """Go back to an earlier generation; no examples are deleted.

        Args:
            generation: its number; None for the newest usable one before the current one that is not a candidate.

        Raises:
            HomeError: there is no such generation, or its head was overwritten.
        """
        return correct.rollback(self, generation)

    @in_turn
    def find_examples(self, names: Names = (), session: str | None = None, label: str | None = None) -> list[Example]:
        """Find local examples by number or picture file, by session, or by label.

        Raises:
            LabelError: nothing fits one of them.
        """
        return correct.find_examples(self, names, session, label)

    @in_turn
    def forget(self, names: Names = (), session: str | None = None, label: str | None = None) -> Forgotten:
        """Delete examples, or a whole label with the bundle's examples of it, and train again as if never taught.

        The new head is, byte for byte, the head that would result if the examples had never been taught. Generations
        that may have learned from them are overwritten, in the file and in its log; old blocks that a flash card keeps
        cannot be reached. A current head that was not trained on them stays in use if the new one is clearly worse.

        Args:
            names: an example's number or a picture file that was taught, or several.
            session: delete all examples of this session.
            label: delete this label with all its examples, including the bundle's.

        Raises:
            LabelError: no example fits.
            NotEnough: fewer than two labels would be left.
        """
        return correct.forget(self, names, session, label)

    @in_turn
    def relabel(self, names: Names, label: str) -> list[Example]:
        """Change the label of examples to another, which may be new; returns the changed examples.

        Raises:
            LabelError: an example was not found, or the label is not valid.
        """
        return correct.relabel(self, names, label)

    @in_turn
    def rename(self, old: str, new: str, merge: bool = False) -> Renamed:
        """Rename a label, at once and everywhere, without retraining; or merge it into another one.

        After merging, the examples of both labels, including the bundle's, have the new name; sessions are kept. Heads
        that distinguished the two are overwritten, and a new one is trained at once. This cannot be undone.

        Args:
            old: the label.
            new: its new name.
            merge: merge the two labels if there is a label `new` already.

        Raises:
            LabelError: the old label is not known, or the new name is taken or not valid.
            NotEnough: fewer than two labels would be left.
        """
        return correct.rename(self, old, new, merge)

    @in_turn
    def beside(self, label: str, leaving: str = "") -> tuple[str, ...]:
        """Return a warning if a new label differs from an existing one only in case, blanks or width; else ().

        Args:
            label: the new label.
            leaving: a label that is about to be renamed, which is ignored.

        Raises:
            LabelError: the name is not a valid label.
        """
        return correct.beside(self, label, leaving)

    @in_turn
    def examples(self, label: str | None = None) -> list[Example]:
        """List the examples taught here, all or those of one label, oldest first.

        Raises:
            LabelError: the label is not known.
        """
        return list(self.list_examples(label))

    def list_examples(self, label: str | None = None) -> Iterator[Example]:
        """As `examples`, with only a few examples in memory at a time.

        Raises:
            LabelError: the label is not known.
        """
        return self.store.walk(correct.label_number(self, label))

    @in_turn
    def examples_among(self, numbers: Sequence[int]) -> list[Example]:
        """List those of these examples that are here, oldest first."""
        return self.store.examples(numbers)

    @in_turn
    def newest_examples(self, label: str | None = None, before: int | None = None, most: int = 60) -> list[Example]:
        """List the newest examples, all or one label's, newest first.

        Args:
            label: its name.
            before: only those with a smaller number; None: all.
            most: how many.

        Raises:
            LabelError: the label is not known.
        """
        return self.store.newest(correct.label_number(self, label), before, most)

    @in_turn
    def count_examples(self, label: str | None = None, before: int | None = None) -> int:
        """Count what `newest_examples` would list if it listed all.

        Raises:
            LabelError: the label is not known.
        """
        return self.store.count(correct.label_number(self, label), before)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make what is taught inside it one change of the home, durable when it ends; after an error nothing of it is.

        Raises:
            HomeBusy, HomeError: the home cannot be written.
        """
        with self.lock, self.store.transaction():
            yield

    @in_turn
    def contribute(
        self, url: str, *, moments: bool = False, key: str | Path | None = None, identity: str | None = None
    ) -> Contributed:
        """Send all that was taught here to the store that a fleet shares, unless it has it already.

        Args:
            url: the store: `s3://…`, `gs://…`, `az://…`, `https://…` or `file:///…`.
            moments: tell sums of the embeddings only; nobody can then leave single pictures out.
            key: a private key's file to sign with; the device's id is then the key's.
            identity: "new" takes another id, for a box that was copied from another one; "keep" goes on with the id of
                a home that was restored from a backup.

        Raises:
            StoreError: the store cannot be reached or refuses.
            FleetError: another box contributes under this device's id, or there are too many examples.
            SignatureError: the key cannot sign.
            RuntimeMissing: obstore, or ssh-keygen for a signature, is not installed.
        """
        from edge.fleet.contribute import contribute

        return contribute(self, url, moments=moments, key=Path(key) if key else None, identity=identity)

    @in_turn
    def fleet(self) -> FleetState | None:
        """What this device last did in its fleet; None where it is in none. No store is asked."""
        from edge.fleet.notes import state

        return state(self)

    @in_turn
    def follow(self, url: str, progress: Callable[[int, int], None] | None = None) -> Followed:
        """Take the release that is meant for this device, if it is a new one: prove it as `init` does, and retrain.

        It must not make worse what was taught here: if its head is clearly worse than the serving one, as `retrain`
        finds out, or the release is not fit for this device, everything stays as it is, and the next contribution says
        so. A refused release is tried again when what was taught here has changed.

        Args:
            url: the store, as `contribute`.
            progress: is told how many bytes of the release are here, of how many.

        Raises:
            StoreError: the store cannot be reached or refuses.
            FleetError: the plan or the release in it is damaged.
            RuntimeMissing: obstore is not installed, or nothing here can run the release.
            HomeError: the home cannot be written.
        """
        from edge.fleet.follow import follow

        return follow(self, url, self.network, progress)

    @in_turn
    def trust(self, key: "Key | None" = None, remove: str | None = None) -> None:
        """Trust a key, or stop trusting one.

        Args:
            key: a public key. From now on, only bundles signed with a trusted key are accepted, and none older than the
                newest one installed so far.
            remove: a trusted key's fingerprint, comment or full text.

        Raises:
            SignatureError: no such key is trusted.
        """
        from edge.home.trust import pins, put_pins

        with self.store.transaction():
            trusted = pins(self.store).plus(key)
            if remove is not None:
                trusted = trusted.minus(remove)
            put_pins(self.store, trusted.counting(self.bundle))

    @in_turn
    def trusted(self) -> Trusted:
        """Return the trusted keys, and the signature of the installed bundle."""
        from edge.home.trust import pins

        return pins(self.store).told(self.bundle)

    @in_turn
    def example_of(self, image: str) -> Example | None:
        """Return the example that was taught from a picture file, or None."""
        return next(iter(self.store.examples(images=[image])), None)
