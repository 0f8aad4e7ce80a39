"""Reviewing on a real terminal: one key a frame, and what was named is taught, put aside, and can be taken back."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.care.verify import verify
from edge.errors import ImageError, LabelError, SourceError
from edge.learner import Learner
from edge.watch.review import KEYS, Review, keys
from tests.refused import refused

from .conftest import PATIENCE, picture


@pytest.fixture
def home(tmp_path: Path, tiny_bundle: Path) -> Path:
    Learner.init(tmp_path / "home", tiny_bundle).store.close()
    folder = tmp_path / "unsure"
    folder.mkdir()
    for seed, label in enumerate(["brick", "grass", "coins", "gravel", "coins"]):
        picture(label, 800 + seed).save(folder / f"uncertain-20261124T1{seed // 3}0000.00000{seed}.png")
    (folder / "mine.png").write_bytes(b"another's")
    return tmp_path / "home"


class Terminal:
    """`edge ARGS` on a terminal of its own."""

    def __init__(self, home: Path, *args: object) -> None:
        self._us, them = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge", "--home", str(home), *map(str, args)],
            stdin=them,
            stdout=them,
            stderr=them,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
        os.close(them)
        self.shown = ""

    def see(self, text: str) -> None:
        """Read until a text appears."""
        end = time.monotonic() + PATIENCE
        while text not in self.shown:
            ready, _, _ = select.select([self._us], [], [], max(0, end - time.monotonic()))
            try:
                assert ready, self.shown
                self.shown += os.read(self._us, 65_536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it ended:\n{self.shown}") from None

    def press(self, text: str) -> None:
        self.shown = ""
        os.write(self._us, text.encode())

    def end(self) -> int:
        return self._process.wait(PATIENCE)


def test_one_key_names_a_frame_and_the_new_head_serves(home: Path, tmp_path: Path) -> None:
    terminal = Terminal(home, "review", tmp_path / "unsure")
    terminal.see("[q] done")
    assert "▀" in terminal.shown
    assert "1 of 5" in terminal.shown
    assert "[1] brick  [2] grass  [3] gravel" in terminal.shown
    terminal.press("1")
    terminal.see("2 of 5")
    terminal.see("[q] done")
    terminal.press("3")  # wrong …
    terminal.see("3 of 5")
    terminal.see("[q] done")
    terminal.press("u")  # … so again
    terminal.see("2 of 5")
    terminal.see("[q] done")
    terminal.press("2")
    terminal.see("3 of 5")
    terminal.see("[q] done")
    terminal.press("n")
    terminal.see("new label")
    terminal.press("coins\n")
    terminal.see("[2] coins")
    terminal.see("[q] done")
    terminal.press("d")
    terminal.see("5 of 5")
    terminal.see("[q] done")
    terminal.press("s")
    terminal.see("generation 2 is in use: 4 labels")
    assert "3 frames labelled, 1 deleted, 1 left" in terminal.shown
    assert terminal.end() == 0
    with Learner(home) as learner:
        taught = {(e.label, e.session) for e in learner.store.examples()}
    hour = "uncertain-20261124T10"
    assert taught == {("brick", hour), ("grass", hour), ("coins", hour)}
    folder = tmp_path / "unsure"
    assert sorted(path.parent.name for path in folder.glob("labelled/*/*.png")) == ["brick", "coins", "grass"]
    assert (folder / "mine.png").exists()


def test_without_a_terminal_it_says_so(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge", "--home", str(home), "review", str(tmp_path / "unsure")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert (
        done.stderr == "error: edge review needs a terminal for its keys; without one, use: edge teach LABEL PICTURES\n"
    )


def test_unless_a_folder_is_given_it_is_the_one_that_watch_kept_frames_in(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge", "--home", str(home), "review"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    none = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
    assert (none.returncode, none.stderr.count("\n")) == (1, 1)
    assert "edge watch SOURCE --save-uncertain DIR" in none.stderr
    with Learner(home) as learner:
        learner.put_uncertain(tmp_path / "unsure")
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
    assert "needs a terminal" in found.stderr


def test_what_cannot_be_named_stays(home: Path, tmp_path: Path) -> None:
    with Learner(home) as learner:
        review = Review(learner, tmp_path / "unsure")
        (first, *_) = review.waiting()
        with refused("label-invalid", LabelError):
            review.name(first, "a/b")
        assert first.exists()
        assert review.undo() is None
        with refused("frames-missing", SourceError, "not a folder"):
            Review(learner, tmp_path / "nowhere")


def test_undoing_after_another_program_fitted_a_head_leaves_one_that_serves(home: Path, tmp_path: Path) -> None:
    with Learner(home) as learner, Learner(home) as nightly:
        review = Review(learner, tmp_path / "unsure")
        first = review.waiting()[0]
        review.name(first, "coins")
        assert nightly.retrain(force=True).generation == 2
        assert review.undo() == first
        assert first.exists()
        assert learner.store.count() == 0
        entries = learner.history()
        assert [e.usable for e in entries if e.serving] == [True]
        assert not entries[1].usable, "it had learned from the frame"
        assert "coins" not in learner.serving().head.labels
    assert all(finding.ok for finding in verify(home).findings)


def test_a_frame_that_was_taught_otherwise_gets_the_new_label_and_undo_gives_the_old_one_back(
    home: Path, tmp_path: Path
) -> None:
    with Learner(home) as learner:
        review = Review(learner, tmp_path / "unsure")
        first, second, *_ = review.waiting()
        learner.teach("grass", [first], session="mine")
        learner.teach("brick", [second])
        (said,) = review.name(first, "brick")
        assert "'grass' before" in said
        assert review.name(second, "brick") != ()
        assert {e.label for e in learner.store.examples()} == {"brick"}
        result = review.result(0, None)
        assert (result.labelled, result.relabelled, result.known, result.left) == (2, 1, 1, 3)
        assert review.changed
        assert review.undo() == second
        assert review.undo() == first
        assert [(e.label, e.session) for e in learner.store.examples()] == [("grass", "mine"), ("brick", None)]
        assert not review.changed
        assert len(review.waiting()) == 5


def test_what_was_named_is_undone_where_no_head_had_learned_it_without_a_new_one(home: Path, tmp_path: Path) -> None:
    with Learner(home) as learner:
        review = Review(learner, tmp_path / "unsure")
        first, second, *_ = review.waiting()
        review.name(first, "brick")
        review.name(second, "tin")
        review.undo()
        assert [e.label for e in learner.store.examples()] == ["brick"]
        assert learner.serving().generation == 1
        assert "tin" not in review.learner.labels()


def test_a_folder_that_cannot_be_written_teaches_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Learner(home) as learner:
        review = Review(learner, tmp_path / "unsure")
        (tmp_path / "unsure" / "labelled").write_text("a file, so that no folder can be made")
        first = review.waiting()[0]
        with refused("frames-unwritable", SourceError, "cannot be moved"):
            review.name(first, "brick")
        assert first.exists()
        assert learner.store.count() == 0

        def failing(**_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("edge.watch.review.tempfile.TemporaryFile", failing)
        with refused("frames-unwritable", SourceError, "cannot be written"):
            Review(learner, tmp_path / "unsure")


def test_a_frame_that_cannot_be_read_goes_back_to_its_place(home: Path, tmp_path: Path) -> None:
    with Learner(home) as learner:
        review = Review(learner, tmp_path / "unsure")
        first = review.waiting()[0]
        first.write_bytes(first.read_bytes()[:200])
        with refused("picture-damaged", ImageError):
            review.name(first, "brick")
        assert first.exists()
        assert review.undo() is None


def test_a_file_that_has_the_name_already_stays(home: Path, tmp_path: Path) -> None:
    with Learner(home) as learner:
        review = Review(learner, tmp_path / "unsure")
        first = review.waiting()[0]
        theirs = tmp_path / "unsure" / "labelled" / "brick" / first.name
        theirs.parent.mkdir(parents=True)
        theirs.write_text("somebody's")
        review.name(first, "brick")
        assert theirs.read_text() == "somebody's"
        assert len(list(theirs.parent.iterdir())) == 2
        first.write_text("somebody's too")
        back = review.undo()
        assert first.read_text() == "somebody's too"
        assert back is not None
        assert back.exists()
        assert back in review.waiting()


def test_undo_on_the_terminal_says_what_it_cannot_take_back(home: Path, tmp_path: Path) -> None:
    terminal = Terminal(home, "review", tmp_path / "unsure", "--no-retrain")
    terminal.see("[q] done")
    terminal.press("u")
    terminal.see("nothing to undo")
    terminal.see("[q] done")
    terminal.press("1")
    terminal.see("2 of 5")
    terminal.see("[q] done")
    with Learner(home) as other:
        other.forget(["1"])
    terminal.press("u")
    terminal.see("not undone")
    terminal.see("2 of 5")
    terminal.see("[q] done")
    terminal.press("q")
    assert terminal.end() == 0


def test_every_label_has_a_key_that_is_no_command() -> None:
    assert not set("dnqsu ") & set(KEYS)
    assert len(keys([str(number) for number in range(100)])) == len(set(KEYS)) == len(KEYS)
