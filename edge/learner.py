"""The learner: a home with its network, and all that can be done with them.

One method a verb; each takes its turn and calls what does the work, in `learning` and `retraining`. Data flows one way:
picture file → pixels (`preprocess`) → embedding (`backbone`) → scores (`head`) → `Answer`.

    examples of the factory (in the bundle) ┐
                                            ├─ fit → head, generation n ─ serving
    examples taught here (in the store)     ┘
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

from edge.answers import (
    Answer,
    Audited,
    Evaluated,
    Exported,
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

if TYPE_CHECKING:
    from edge.bundle.signature import Key


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
            LabelError: the name is not a valid label.
            ImageError: a picture that was named itself cannot be read, the others are stored; a path does not exist or
                a folder holds no picture, nothing is stored. To go on past such pictures, use `teach_each`.
            HomeError: the home cannot be written; what was stored before stays.
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
        """Store pictures as `teach` does, but list those that cannot be read in `Taught.unreadable`.

        Args, Returns, Raises: as `teach`.
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
        """Store the pictures of a folder of class folders, each as an example of the label that its folder is named by.

        Of a folder in parts, what lies in `val` is held out.

        Args:
            folder: `folder/LABEL/*.jpg`, or `folder/train/LABEL/*.jpg` and `folder/val/…`.
            session: as `teach`.
            progress: as `teach`.
            held_out: as `teach`, for all of them.

        Raises:
            DatasetError: that is not what the folder holds.
            LabelError: the name of a folder is not a valid label.
            HomeError: the home cannot be written; what was stored before stays.
        """
        return teaching.teach_folders(self, self.embed, Path(folder).expanduser(), session, progress, held_out)

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
        from edge.learning.measure import measure

        return measure(self, self._answering, self.embed, Path(folder).expanduser())

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
        from edge.learning.audit import audit_home

        page = Path(html).expanduser() if html is not None else None
        return audit_home(self, self._answering, self.embed, paths(pictures), page)

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
        from edge.learning.classifier_file import export

        return export(self, Path(path).expanduser(), Path(labels).expanduser() if labels else None)

    @in_turn
    def retrain(self, known_coverage: float | None = None, force: bool = False) -> Retrained:
        """Fit a new head to the factory's and the local examples, and let it serve unless it is clearly worse.

        Args:
            known_coverage: from now on, in (0, 1]; 1 calls nothing unknown. None: as before.
            force: let it serve in any case.

        Raises:
            NotEnough: there are fewer than two labels.
        """
        from edge.retraining.retrain import retrain

        return retrain(self, known_coverage, force)

    @in_turn
    def anything_new(self) -> bool:
        """Whether examples were taught or relabelled since the newest generation, candidate or not, was made.

        A head that was refused or rolled back is not made again of the same examples; forgetting makes its own.
        """
        return self.store.count_after(self.store.generation_numbers()[-1]) > 0

    @in_turn
    def status(self) -> Status:
        """The bundle, labels and accuracy of a home."""
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
        return correct.forget(self, names, session, label)

    @in_turn
    def relabel(self, names: Names, label: str) -> list[Example]:
        """Give examples another label, old or new; retrain to use it. Returns them as they are now.

        Raises:
            LabelError: one of them is no example here, or the label is no name.
        """
        return correct.relabel(self, names, label)

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
        return correct.rename(self, old, new, merge)

    @in_turn
    def beside(self, label: str, leaving: str = "") -> tuple[str, ...]:
        """Say that a new label differs from one that is here, or in the bundle, in case, blanks or width alone.

        Args:
            label: it; nothing is said of one that is here already.
            leaving: a label that is about to give up its name.

        Raises:
            LabelError: the name is not a valid label.
        """
        return correct.beside(self, label, leaving)

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
        return correct.list_examples(self, label)

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

    @in_turn
    def example_of(self, image: str) -> Example | None:
        """Return the example of a picture, known by the SHA-256 of its file; None if it was not taught."""
        return next(iter(self.store.examples(image=image)), None)
