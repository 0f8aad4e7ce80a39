"""A user's program that names everything public: mypy reads it with --strict, and Python runs it."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import edge
from edge import (
    Answer,
    Audited,
    BundleError,
    DatasetError,
    EdgeError,
    Evaluated,
    Example,
    Exported,
    Forgotten,
    Frame,
    FrameAnswer,
    Guess,
    HistoryEntry,
    HomeBusy,
    HomeError,
    HomeMissing,
    ImageError,
    LabelError,
    Learner,
    Neighbour,
    NotEnough,
    ParityError,
    PictureLike,
    Renamed,
    Retrained,
    RuntimeMissing,
    SignatureError,
    Skipped,
    SourceError,
    SourceRefused,
    Status,
    Taught,
    TaughtFolders,
    Watcher,
)
from edge.testing import FakeCamera, FakeNetwork, new_learner, surface, write_bundle, write_photos

ERRORS: tuple[type[EdgeError], ...] = (
    BundleError, DatasetError, HomeBusy, HomeError, HomeMissing, ImageError, LabelError, NotEnough, ParityError,
    RuntimeMissing, SignatureError, SourceError, SourceRefused,
)  # fmt: skip


def ask(learner: Learner, picture: PictureLike) -> str:
    one: Answer = learner.classify(picture, explain=True)
    several: list[Answer] = learner.classify([picture, picture])
    best: Guess = one.top[0]
    near: Neighbour = one.nearest[0]
    label: str | None = several[0].label
    return f"{label} {best.label} {best.probability:.2f} {near.label}"


def main(folder: Path) -> None:
    photos: Path = write_photos(folder / "photos", first=50)
    bundle: Path = write_bundle(folder / "tiny.edge", str(photos))
    with Learner.init(folder / "home", bundle, network=FakeNetwork()) as learner:
        picture: Image.Image = surface("coins", seed=1)
        pixels = np.asarray(picture)
        taught: Taught = learner.teach("coins", [surface("coins", seed) for seed in range(10)], session="first")
        made: Retrained = learner.retrain(force=True)
        for given in (picture, pixels, pixels[:, :, 0], photos / "brick" / "brick_050.png"):
            print(ask(learner, given))
        for each in learner.classify_each([pixels, "nowhere.jpg"]):
            print(each.reason if isinstance(each, Skipped) else each.label)
        folders: TaughtFolders = learner.teach_folders(str(photos))
        figures: Evaluated = learner.evaluate(photos)
        status: Status = learner.status()
        history: list[HistoryEntry] = learner.history()
        found: Audited = learner.audit()
        examples: list[Example] = learner.examples("coins")
        gone: Forgotten = learner.forget(examples[0].id)
        named: Renamed = learner.rename("coins", "money")
        file: Exported = learner.export(folder / "all.onnx")
        back: HistoryEntry = learner.rollback()
        print(taught.examples, made.loo_accuracy, folders.layout, figures.accuracy, status.labels, len(history))
        print(found.suspects, gone.examples, named.new, file.bytes, back.generation)
        camera = FakeCamera([picture, pixels], name="garage")
        watcher = Watcher(learner, camera, every=1.0, smooth="1/1", say=print)
        for answer in watcher:
            seen: FrameAnswer = answer
            frame: Frame = seen.frame
            print(seen.settled, frame.name, learner.classify(frame).unknown)
    with new_learner(folder / "other", {"brick": 5, "grass": 5}) as other:
        try:
            other.classify(folder)
        except ERRORS as error:
            print(type(error).__name__, edge.__version__)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
