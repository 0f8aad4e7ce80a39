"""Every kind of file × every command that takes folders: what was left out is counted, by reason, with what to do."""

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.care import doctor
from edge.learner import Learner
from edge.picture.count import REASONS
from tests.edge.conftest import Run, picture
from tests.edge.kinds import PICTURE, WRITERS, Writer, write

IDS = [one.name for one in WRITERS]


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """A home that has adopted the bundle."""
    folder = tmp_path_factory.mktemp("adopted") / "home"
    Learner.init(folder, tiny_bundle).close()
    return folder


@pytest.fixture(autouse=True)
def home(adopted: Path, tmp_path: Path) -> None:
    """A copy of it, where `run` looks."""
    shutil.copytree(adopted, tmp_path / "home")


@pytest.fixture(scope="module", autouse=True)
def runtimes_tried_once() -> Iterator[None]:
    """Let doctor try each runtime in a process of its own once, not once for each kind of file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "attempt", functools.cache(doctor.attempt))
        yield


def given(folder: Path, writer: Writer, label: str = "coins") -> Path:
    """A folder of one class folder, with one good photo and one file of a kind."""
    (folder / label).mkdir(parents=True)
    picture("coins", 900).save(folder / label / "good.png")
    write(writer, folder / label)
    return folder


def good(files: dict[str, Any], writer: Writer) -> None:
    """Check a count of the good photo and the file of a kind."""
    why = writer.left or writer.unread
    assert files["seen"] == 2
    assert files["read"] == (1 if why else 2)
    assert [(one["reason"], one["count"]) for one in files["left_out"]] == ([(why, 1)] if why else [])
    for one in files["left_out"]:
        assert Path(one["example"]).name == writer.name
        assert one["advice"] == REASONS[one["reason"]].advice


def ended(code: int, writer: Writer) -> None:
    """Only a picture that could not be read makes it partial."""
    assert code == (3 if writer.unread else 0)


@pytest.mark.parametrize("writer", WRITERS, ids=IDS)
def test_teach_counts(run: Run, tmp_path: Path, writer: Writer) -> None:
    folder = given(tmp_path / "in", writer)
    code, out, err = run("teach", "coins", folder, "--json")
    ended(code, writer)
    good(json.loads(out)["files"], writer)
    assert ("skipped: " in err) == bool(writer.unread)
    _, out, _ = run("teach", "coins", folder)
    assert "2 files: 0 read, 2 left out" in out.splitlines()[-1]


@pytest.mark.parametrize("writer", WRITERS, ids=IDS)
def test_teach_by_folders_counts(run: Run, tmp_path: Path, writer: Writer) -> None:
    code, out, _ = run("teach", "--folders", given(tmp_path / "in", writer), "--json")
    ended(code, writer)
    good(json.loads(out)["files"], writer)


@pytest.mark.parametrize("writer", WRITERS, ids=IDS)
def test_evaluate_counts(run: Run, tmp_path: Path, writer: Writer) -> None:
    folder = given(tmp_path / "in", writer, "grass")
    code, out, _ = run("evaluate", folder, "--json")
    ended(code, writer)
    answer = json.loads(out)
    good(answer["files"], writer)
    assert answer["examples"] == answer["files"]["read"]
    code, out, _ = run("evaluate", folder)
    assert out.splitlines()[-1].startswith("2 files: ")


@pytest.mark.parametrize("writer", WRITERS, ids=IDS)
def test_classify_counts_where_no_program_reads(run: Run, tmp_path: Path, writer: Writer) -> None:
    code, out, err = run("classify", given(tmp_path / "in", writer), "--json")
    ended(code, writer)
    assert all("label" in json.loads(line) for line in out.splitlines())
    why = writer.left or writer.unread
    assert len(out.splitlines()) == (1 if why else 2)
    last = err.splitlines()[-1]
    assert last.startswith("2 files: ")
    if why:
        assert REASONS[why].one in last
        assert REASONS[why].advice in last


@pytest.mark.parametrize("writer", WRITERS, ids=IDS)
def test_audit_counts(run: Run, tmp_path: Path, writer: Writer) -> None:
    picture("coins", 1).save(tmp_path / "taught.png")
    run("teach", "coins", tmp_path / "taught.png")
    code, out, _ = run("audit", given(tmp_path / "in", writer), "--json")
    ended(code, writer)
    good(json.loads(out)["files"], writer)


@pytest.mark.parametrize("writer", WRITERS, ids=IDS)
def test_doctor_counts(run: Run, tmp_path: Path, writer: Writer) -> None:
    _, out, _ = run("doctor", given(tmp_path / "in", writer), "--json")
    found = [one for one in json.loads(out) if one["check"] == "pictures" and "files: " in one["seen"]]
    why = writer.left or writer.unread
    assert len(found) == bool(why)
    if why:
        assert found[0]["seen"].startswith("2 files: 1 read")
        assert found[0]["ok"] == (not writer.unread)


def test_doctor_is_not_content_where_no_picture_could_be_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    _, out, _ = run("doctor", tmp_path / "notes.txt", "--json")
    (found,) = [one for one in json.loads(out) if one["check"] == "pictures"]
    assert found["seen"].startswith("1 file: 0 read")
    assert not found["ok"]


@pytest.mark.parametrize("writer", [one for one in WRITERS if one.unread], ids=lambda one: one.name)
def test_a_file_that_cannot_be_read_is_said_to_be_what_it_is(run: Run, tmp_path: Path, writer: Writer) -> None:
    path = write(writer, tmp_path)
    code, _, err = run("classify", path)
    assert code == 3
    assert str(path) in err
    assert "delete" not in err
    told = {"page": "web page", "pointer": "git lfs pull", "packed": "archive", "film": "video", "words": "text file",
            "layers": "Photoshop", "new": "JPEG XL", "drawing": "SVG", "canon": "raw", "fuji": "raw", "zeros": "zeros",
            "nothing": "empty", "cut": "incomplete"}  # fmt: skip
    assert told[path.stem] in err


@pytest.mark.parametrize("words", [["classify"], ["teach", "coins"], ["audit"]])
def test_a_named_file_that_is_not_a_picture_makes_it_partial_whatever_it_is_called(
    run: Run, tmp_path: Path, words: list[str]
) -> None:
    picture("coins", 1).save(tmp_path / "taught.png")
    run("teach", "coins", tmp_path / "taught.png")
    (tmp_path / "notes.txt").write_text("to do")
    code, _, err = run(*words, tmp_path / "notes.txt")
    assert code == 3
    assert "text file" in err


def test_one_photo_that_was_named_needs_no_count(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PICTURE)
    assert "files: " not in run("classify", tmp_path / "a.jpg")[2]


def test_a_photo_under_two_labels_is_used_for_neither_and_both_are_named(run: Run, tmp_path: Path) -> None:
    for label in ("coins", "grass"):
        (tmp_path / "in" / label).mkdir(parents=True)
        picture(label, 1).save(tmp_path / "in" / label / "own.png")
        (tmp_path / "in" / label / f"{label}_both.jpg").write_bytes(PICTURE)
    code, out, err = run("teach", "--folders", tmp_path / "in", "--json")
    answer = json.loads(out)
    assert code == 0
    assert [(one["label"], len(one["examples"])) for one in answer["taught"]] == [("coins", 1), ("grass", 1)]
    assert [(one["reason"], one["count"]) for one in answer["files"]["left_out"]] == [("contradicts", 2)]
    assert len(answer["contradictions"]) == 2
    for text in (err, answer["contradictions"][0]["reason"]):
        assert "coins_both.jpg (coins)" in text
        assert "grass_both.jpg (grass)" in text
    answer = json.loads(run("evaluate", tmp_path / "in", "--json")[1])
    assert answer["examples"] == 2
    assert len(answer["contradictions"]) == 2


def test_teach_by_folders_holds_out_the_val_part_and_evaluate_asks_only_it(run: Run, tmp_path: Path) -> None:
    for part, first in (("train", 0), ("val", 10)):
        for label in ("coins", "grass"):
            (tmp_path / "in" / part / label).mkdir(parents=True)
            for seed in range(first, first + 3):
                picture(label, seed).save(tmp_path / "in" / part / label / f"{seed}.png")
    code, out, _ = run("teach", "--folders", tmp_path / "in")
    assert code == 0
    assert "train is taught, val is held out" in out
    status = json.loads(run("status", "--json")[1])
    assert {one["label"]: (one["local"], one["held_out"]) for one in status["labels"]}["coins"] == (3, 3)
    answer = json.loads(run("evaluate", tmp_path / "in", "--json")[1])
    assert answer["examples"] == 6
    assert "val" in answer["layout"]
    assert [(one["reason"], one["count"]) for one in answer["files"]["left_out"]] == [("other-part", 6)]


def test_a_folder_of_labels_is_not_taught_as_one(run: Run, tmp_path: Path) -> None:
    for label in ("coins", "grass"):
        (tmp_path / "in" / label).mkdir(parents=True)
        picture(label, 1).save(tmp_path / "in" / label / "1.png")
    code, out, err = run("teach", "cup", tmp_path / "in")
    assert (code, out) == (1, "")
    assert "--folders" in err
    assert "coins, grass" in err
    assert json.loads(run("status", "--json")[1])["untrained_examples"] == 0
    assert run("teach", "cup", tmp_path / "in" / "coins", tmp_path / "in" / "grass")[0] == 0


def test_folders_inside_the_folder_of_a_label_are_taught_as_it(run: Run, tmp_path: Path) -> None:
    for name in ("coins/monday", "coins/tuesday", "other/monday"):
        (tmp_path / name).mkdir(parents=True)
        picture("coins", len(name)).save(tmp_path / name / "1.png")
    picture("coins", 50).save(tmp_path / "other" / "beside.png")
    assert run("teach", "coins", tmp_path / "coins")[0] == 0, "the folder has the label's name"
    assert run("teach", "coins", tmp_path / "other")[0] == 0, "it holds photos itself"
    (tmp_path / "other" / "grass").mkdir()
    picture("grass", 60).save(tmp_path / "other" / "grass" / "1.png")
    assert run("teach", "coins", tmp_path / "other")[0] == 1, "grass is a label here"


def test_the_same_picture_far_apart_is_stored_once(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(70):
        picture("coins", seed).save(folder / f"{seed:03}.png")
    shutil.copy(folder / "000.png", folder / "900.png")
    answer = json.loads(run("teach", "coins", folder, "--json")[1])
    assert len(answer["examples"]) == 70
    assert [one["reason"] for one in answer["files"]["left_out"]] == ["copy"]


@pytest.mark.parametrize(
    "words", [["teach"], ["teach", "cup"], ["teach", "cup", "--folders", "x"], ["teach", "--folders", "x", "cup", "y"]]
)
def test_teach_says_how_it_is_called(run: Run, words: list[str]) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert "--folders" in err
