"""A real, tiny device: a random network of a few kilobytes in both formats, pictures of plain surfaces, a bundle.

Everything runs on whichever runtime is installed, so that the same tests prove the workstation's and the device's
environment. Where there is none, the tests that need one are skipped.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.cli import app
from edge.learner import Learner
from edge.network import backbone
from edge.network.backbone import RUNTIMES, Backbone
from edge.testing import COLOURS, DIMENSION, INFO, MODELS, SIDE, write_bundle
from edge.testing import surface as picture
from edge.testing import write_photos as write_pictures

# One runs with the code of version 0.1.0, the other inside Home Assistant.
collect_ignore = ["data/make_old_homes.py", "inside_home_assistant.py"]
Run = Callable[..., tuple[int, str, str]]
PATIENCE = 600  # seconds, after which what hangs is given up, on however busy a machine
DATA = Path(__file__).parent / "data"
__all__ = ["COLOURS", "DATA", "DIMENSION", "INFO", "MODELS", "PATIENCE", "SIDE"]
__all__ += ["picture", "write_bundle", "write_pictures"]


@pytest.fixture(scope="session")
def network() -> Backbone:
    """The tiny network on the first runtime that is here."""
    for runtime in RUNTIMES:
        if runtime.installed:
            return backbone.open_backbone(MODELS[runtime.format].read_bytes(), runtime, threads=1)
    pytest.skip("no runtime is installed")


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workstation's photos: three labels, ten of each."""
    return write_pictures(tmp_path_factory.mktemp("photos"), {"brick": 10, "grass": 10, "gravel": 10})


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, network: Backbone, photo_folder: Path) -> Path:
    """A bundle with both models, taught brick, grass and gravel."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny.edge", photo_folder, network)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """A clock that goes on by one minute at each look."""
    now = datetime(2026, 11, 23, tzinfo=UTC)

    def tick() -> datetime:
        nonlocal now
        now += timedelta(minutes=1)
        return now

    return tick


@pytest.fixture
def learner(tmp_path: Path, tiny_bundle: Path, clock: Callable[[], datetime]) -> Iterator[Learner]:
    """A new home of the tiny bundle."""
    with Learner.init(tmp_path / "home", tiny_bundle, clock=clock) as made:
        yield made


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Ask for permissions as a user without a name, as containers have them; returns the number. It takes root."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    os.setreuid(54321, 0)
    try:
        yield 54321
    finally:
        os.setreuid(0, 0)


@contextmanager
def another_user() -> Iterator[None]:
    """Be a user who owns nothing here, and comes only to what everybody may enter. It takes root."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    os.setresuid(54321, 54321, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `edge ARGS` in this process, with a home of its own; return exit code, stdout and stderr."""
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGE_DEBUG", raising=False)

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edge", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            app.main()
        seen = capsys.readouterr()
        return int(end.value.code or 0), seen.out, seen.err

    return call


@pytest.fixture
def ready(run: Run, tiny_bundle: Path) -> Run:
    assert run("init", tiny_bundle)[0] == 0
    return run
