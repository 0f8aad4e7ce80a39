"""A taught home, and a server over it; where the extra `web` is not installed, these tests are skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.learner import Learner
from tests.edge.conftest import write_pictures

from .server import Server, serving


def taught(folder: Path, bundle: Path) -> Path:
    """Make a home that was taught coins: example 1 to 6, session "tuesday"."""
    pytest.importorskip("starlette", reason="the extra `web` is not installed")
    pytest.importorskip("uvicorn", reason="the extra `web` is not installed")
    write_pictures(folder / "taught", {"coins": 6}, first=900)
    with Learner.init(folder / "home", bundle, keep_crops=True) as learner:
        learner.teach("coins", [folder / "taught" / "coins"], session="tuesday")
        learner.retrain()
    return folder / "home"


@pytest.fixture
def home(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A taught home."""
    return taught(tmp_path, tiny_bundle)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Server]:
    """A server that is asked only for what it refuses or gives without a change; all tests of a module share it."""
    with serving(taught(tmp_path_factory.mktemp("closed"), tiny_bundle)) as running:
        yield running


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    """A server without a camera."""
    with serving(home) as running:
        yield running
