"""Photos that wait in the queue: taught by one commit, each with its own answer and its own fault."""

import threading
from pathlib import Path

import pytest

from edge.learner import Learner
from tests.edge.conftest import picture

pytest.importorskip("starlette", reason="the extra `web` is not installed")

from edge.errors import ImageError, LabelError
from edge.serve.desk import Desk
from edge.serve.engine import Engine
from edge.serve.live import Live
from edge.serve.uploads import TOGETHER, Arrived, Uploads


@pytest.fixture
def uploads(home: Path) -> Uploads:
    return Uploads(Desk(Engine(threading.Event()), Live(), home, home / "uncertain"))


def arrive(uploads: Uploads, folder: Path, *seeds: int, label: str = "wall", ask: bool = False) -> list[Arrived]:
    """Let photos wait."""
    photos = []
    for seed in seeds:
        path = folder / f"{len(uploads._waiting)}.png"
        picture("brick", seed, side=80).save(path)
        photos.append(Arrived(path, label, f"upload: {seed}.png", None, ask))
        uploads._waiting.append(photos[-1])
    return photos


def test_what_waits_is_taught_by_one_commit_and_each_has_its_answer(
    home: Path, uploads: Uploads, tmp_path: Path
) -> None:
    photos = arrive(uploads, tmp_path, 1, 2, 3, 2)
    commits: list[str] = []
    with Learner(home) as learner:
        learner.backbone()
        learner.store._db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        first = uploads._take(learner, photos[0])
        learner.store._db.set_trace_callback(None)
        others = [uploads._take(learner, photo) for photo in photos[1:]]
        assert len(commits) == 1
        assert [one["stored"] for one in (first, *others)] == [True, True, True, False]
        assert others[2]["known"]["example"] == others[0]["examples"][0], "the same photo is stored once"
        assert [e.source for e in learner.list_examples("wall")] == [f"upload: {seed}.png" for seed in (1, 2, 3)]
    assert not any(photo.path.exists() for photo in photos)


def test_a_photo_that_is_no_picture_is_its_own_fault_alone(home: Path, uploads: Uploads, tmp_path: Path) -> None:
    photos = arrive(uploads, tmp_path, 1, 2, 3)
    photos[1].path.write_bytes(b"\x89PNG and no more")
    with Learner(home) as learner:
        assert uploads._take(learner, photos[0])["stored"]
        with pytest.raises(ImageError):
            uploads._take(learner, photos[1])
        assert uploads._take(learner, photos[2])["stored"]


def test_what_cannot_be_stored_is_acknowledged_to_nobody(home: Path, uploads: Uploads, tmp_path: Path) -> None:
    photos = [*arrive(uploads, tmp_path, 1, 2), *arrive(uploads, tmp_path, 3, label="")]
    with Learner(home) as learner:
        before = learner.store.count()
        for photo in photos:
            with pytest.raises(LabelError):
                uploads._take(learner, photo)
        assert learner.store.count() == before
    assert all(photo.path.exists() for photo in photos), "what asked deletes its own"


def test_a_commit_waits_for_no_more_photos_than_it_may(home: Path, uploads: Uploads, tmp_path: Path) -> None:
    photos = arrive(uploads, tmp_path, *range(TOGETHER + 2))
    with Learner(home) as learner:
        uploads._take(learner, photos[0])
    assert [photo.done for photo in photos] == [True] * TOGETHER + [False] * 2
