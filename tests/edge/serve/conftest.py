"""A taught home, and a server over it; where the extra `web` is not installed, these tests are skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.learner import Learner
from tests.edge.conftest import write_pictures

from .server import Server, serving


@pytest.fixture
def home(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A home that was taught coins: example 1 to 6, session "tuesday"."""
    pytest.importorskip("starlette", reason="the extra `web` is not installed")
    pytest.importorskip("uvicorn", reason="the extra `web` is not installed")
    write_pictures(tmp_path / "taught", {"coins": 6}, first=900)
    with Learner.init(tmp_path / "home", tiny_bundle, keep_crops=True) as learner:
        learner.teach("coins", [tmp_path / "taught" / "coins"], session="tuesday")
        learner.retrain()
    return tmp_path / "home"


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    """A server without a camera."""
    with serving(home) as running:
        yield running
