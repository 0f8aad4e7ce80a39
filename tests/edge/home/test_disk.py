"""A real file system that turns read-only or fills up: one line says so, what was taught stays, and reading goes on."""

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.answers import Answer
from edge.care.verify import verify
from edge.errors import EdgeError
from edge.learner import Learner
from tests.edge.conftest import write_pictures
from tests.edge.serve.server import serving
from tests.refused import refused

pytestmark = pytest.mark.kills

SIZE = 8 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 8 MB, mounted."""
    make = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if os.geteuid() or make is None:
        pytest.skip("making a disk needs root and mkfs.ext4")
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    image.touch()
    os.truncate(image, SIZE)
    subprocess.run([make, "-q", image], check=True)
    place.mkdir()
    if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    gc.collect()  # the refusals' tracebacks hold the bundle open
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", {"coins": 8, "brick": 40}, first=300)


@pytest.fixture
def home(disk: Path, tiny_bundle: Path, pictures: Path) -> Path:
    """A home on it, with 8 examples of coins."""
    with Learner.init(disk / "home", tiny_bundle) as learner:
        learner.teach("coins", [pictures / "coins"])
        learner.retrain()
    return disk / "home"


def test_a_disk_that_turns_read_only_is_named_and_read_all_the_same(home: Path, disk: Path, pictures: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        with Learner(home) as learner:
            for change in (lambda: learner.teach("brick", [pictures / "brick"]), learner.retrain, learner.rollback):
                with refused("home-unwritable", EdgeError, "read-only", "--home"):
                    change()
            assert all(
                isinstance(answer, Answer) for answer in learner.classify(sorted((pictures / "coins").iterdir()))
            )
            assert learner.status().generation == 2
        assert all(finding.ok for finding in verify(home).findings)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    with Learner(home) as learner:
        learner.teach("brick", [pictures / "brick"])
        assert learner.retrain().generation == 3


def test_a_disk_without_room_is_named_and_read_all_the_same(home: Path, disk: Path, pictures: Path) -> None:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    with Learner(home) as learner:
        with refused("home-unwritable", EdgeError, "disk is full"):
            learner.teach("brick", [pictures / "brick"])
        for kind in ("onnx", "tflite"):
            with refused("output-unwritable", EdgeError, f"disk/whole.{kind}", "No space left on device"):
                learner.export(disk / f"whole.{kind}", disk / "labels.txt")
        assert not [*disk.glob("*.txt"), *disk.glob("*whole*")]
        assert all(isinstance(answer, Answer) for answer in learner.classify(sorted((pictures / "coins").iterdir())))
    assert all(finding.ok for finding in verify(home).findings)
    filler.unlink()
    with Learner(home) as learner:
        learner.teach("brick", [pictures / "brick"])
        assert learner.retrain().generation == 3


def test_a_card_without_room_takes_no_photo_from_the_page(home: Path, pictures: Path) -> None:
    pytest.importorskip("starlette", reason="the extra `web` is not installed")
    pytest.importorskip("uvicorn", reason="the extra `web` is not installed")
    with serving(home) as server:
        answer = server.send((pictures / "brick" / "brick_300.png").read_bytes(), "wall")
        assert (answer.status_code, answer.json()["code"]) == (413, "upload-too-large")
    with Learner(home) as learner:
        assert "wall" not in learner.labels()
