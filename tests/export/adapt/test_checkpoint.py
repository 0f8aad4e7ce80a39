"""A checkpoint is whole or not there, and runs no code."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from edge.errors import BundleError
from export.adapt import checkpoint
from tests.refused import refused


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


def test_a_write_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    checkpoint.save(path, {"epoch": 1, "weight": torch.ones(3)})
    with pytest.raises(AttributeError):
        checkpoint.save(path, {"epoch": 2, "bad": lambda: None})
    state = checkpoint.load(path)
    assert state is not None
    assert state["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps(Evil())])
def test_what_is_no_checkpoint_is_refused_and_not_run(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.pt"
    path.write_bytes(content)
    with refused("run-mismatch", BundleError):
        checkpoint.load(path)
    assert capsys.readouterr().out == ""
