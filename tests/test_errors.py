"""The errors: each has a code, which docs/errors.md explains and programs get in JSON."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from edge.codes import CODES, page
from edge.errors import EdgeError, HomeBusy, ImageError, SourceRefused

DOCS = Path(__file__).parent.parent / "docs" / "errors.md"


def test_the_page_is_made_from_the_table() -> None:
    assert DOCS.read_text() == page(), "run: python -m edge.codes > docs/errors.md"


def test_every_code_is_named_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("*.py"))
    forgotten = [code for code in CODES if f'"{code}"' not in tests]
    assert not forgotten, f"no test names these codes, write one that provokes each: {', '.join(forgotten)}"


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_lower_case_words_and_its_meaning_whole_sentences(code: str) -> None:
    assert all(word.isalpha() and word.islower() for word in code.split("-"))
    for text in CODES[code]:
        assert text[0].isupper()
        assert text.endswith(".")
        assert "|" not in text, "it stands in a table"


@pytest.mark.parametrize(
    "error",
    [
        EdgeError("system", "it failed"),
        HomeBusy("home-busy", "it is busy"),
        SourceRefused("login-refused", "it refuses"),
        ImageError("picture-too-large", "it is large", "too-large"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_code_through_copies_and_processes(error: EdgeError) -> None:
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(again), again.code, str(again), vars(again)) == (type(error), error.code, str(error), vars(error))


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["--json", "status"], 1, "home-missing"),
        (["status", "--json"], 1, "home-missing"),
        (["forget", "--json"], 2, "usage"),
        (["init", "nowhere.edge", "--json"], 1, "file-missing"),
        (["--home", "x" * 256, "status", "--json"], 1, "system"),  # a longer name than any file system takes
    ],
)
def test_a_program_gets_the_code_of_a_refusal(tmp_path: Path, arguments: list[str], exit_code: int, code: str) -> None:
    command = [sys.executable, "-m", "edge", "--home", str(tmp_path / "none"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == exit_code
    answer = json.loads(done.stdout)
    assert answer.keys() == {"error", "code"}
    assert answer["code"] == code
    assert answer["error"] in done.stderr
    plain = subprocess.run([word for word in command if word != "--json"], capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stdout, plain.stderr) == (exit_code, "", done.stderr)
