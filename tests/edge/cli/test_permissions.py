"""What may not be read or written is said in one line that names it and says what to check, whatever the command."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.conftest import Run, another_user, picture

PICTURE, FOLDER, FILE = "locked/in/cup.jpg", "locked/in", "locked/in/cup.onnx"
PERMITTED = {"permission-denied", "picture-unreadable", "file-unreadable", "output-unwritable", "key-invalid"}


@pytest.fixture
def locked(run: Run, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A home that belongs to another user, beside a folder that this user may not enter; pytest's own are closed."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.chdir(name)
        Path(name).chmod(0o755)
        monkeypatch.setenv("EDGE_HOME", "home")
        assert run("init", tiny_bundle)[0] == 0
        for path in [Path("home"), *Path("home").rglob("*")]:
            os.chown(path, 54321, 54321)
        Path(FOLDER).mkdir(parents=True)
        picture("brick", 0).save(PICTURE)
        Path("locked").chmod(0)
        yield run


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", PICTURE), ("classify", FOLDER), ("teach", "cup", FOLDER), ("teach", "--folders", FOLDER),
        ("evaluate", FOLDER), ("watch", FOLDER), ("capture", "cup", FILE), ("review", FOLDER), ("backup", FILE),
        ("export", FILE), ("init", FILE), ("trust", FILE), ("forget", PICTURE), ("audit", PICTURE),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_path_in_a_closed_folder_is_named_with_what_to_check(locked: Run, arguments: tuple[str, ...]) -> None:
    with another_user():
        code, out, err = locked("--json", *arguments)
    refusal = json.loads(out)
    assert code == 1
    assert refusal["code"] in PERMITTED
    assert err == f"error: {refusal['error']}\n"
    assert arguments[-1] in err
    assert "ermission" in err


def test_what_lies_in_a_folder_that_may_be_listed_but_not_entered_is_counted(locked: Run) -> None:
    Path("listed").mkdir()
    picture("brick", 0).save("listed/cup.jpg")
    Path("listed").chmod(0o444)
    with another_user():
        code, out, _ = locked("--json", "classify", "listed")
    assert (code, json.loads(out)["code"]) == (1, "no-pictures")
    assert "1" in json.loads(out)["error"]
