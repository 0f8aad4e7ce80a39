"""The command line as its users and their programs meet it: exit codes, one-line errors, JSON that is a contract."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.home import database
from tests.edge.conftest import COLOURS, Run, write_pictures


@pytest.fixture
def tmp_path(disk: Path) -> Path:
    """Not in memory, for the sake of `edge doctor`."""
    return disk


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", dict.fromkeys(COLOURS, 6), first=700)


def test_from_bundle_to_a_label_taught_here(ready: Run, pictures: Path) -> None:
    assert ready("teach", "coins", pictures / "coins")[0] == 0
    code, out, err = ready("retrain")
    assert (code, err) == (0, "")
    assert "generation 2 is in use: 4 labels, 6 examples taught here, 30 from the bundle" in out
    assert "accuracy: " in out
    code, out, _ = ready("evaluate", pictures)
    assert code == 0
    assert " correct (95 % interval" in out
    code, out, _ = ready("status")
    assert "coins" in out
    for line in ("history", "doctor", "rollback"):
        assert ready(line)[0] == 0, ready(line)


def test_an_accuracy_says_which_examples_it_counts(ready: Run, pictures: Path) -> None:
    ready("teach", "coins", pictures / "coins")
    ready("retrain")
    assert "taught here\n" not in ready("status")[1]
    assert "measured on" not in ready("history")[1]
    ready("teach", "brick", pictures / "brick")
    ready("retrain")
    assert ", by leave-one-out on the examples taught here\n" in ready("status")[1]
    assert "\n3: measured on the examples taught here, the others on all examples\n" in ready("history")[1]


CONTRACT = {
    "classify": {"image", "label", "unknown", "probability", "top", "generation", "milliseconds"},
    "evaluate": {"accuracy", "examples", "labels", "confusion", "unknown"},
    "retrain": {"generation", "promoted", "method", "loo_accuracy", "loo_interval", "milliseconds", "labels"}
    | {"refusal", "serving", "held_out", "shared"},
    "audit": {"examples", "loo_accuracy", "loo_interval", "labels", "confusion", "suspects", "contradictions"}
    | {"repeated", "thin", "curve", "advice", "unsure", "review", "page", "milliseconds"},
    "history": {"generation", "loo_accuracy", "held_out_accuracy", "serving", "usable", "promoted", "refusal"},
}


def test_json_keeps_its_contract(ready: Run, pictures: Path) -> None:
    def ask(*args: object) -> Any:
        code, out, _ = ready(*args)
        assert code == 0
        return [json.loads(line) for line in out.splitlines()]

    answers = ask("classify", pictures / "brick", "--json")
    assert len(answers) == 6
    assert all(answer.keys() >= CONTRACT["classify"] for answer in answers)
    assert answers[0]["top"][0]["probability"] == answers[0]["probability"]
    (result,) = ask("--json", "evaluate", pictures)
    assert result.keys() >= CONTRACT["evaluate"]
    assert 0 <= result["accuracy"] <= 1
    (result,) = ask("retrain", "--json")
    assert result.keys() >= CONTRACT["retrain"]
    for command in ("status", "history", "doctor"):
        assert len(ask(command, "--json")) == 1
    assert all(entry.keys() >= CONTRACT["history"] for entry in ask("history", "--json")[0])
    assert ready("teach", "coins", pictures / "coins")[0] == 0
    (result,) = ask("audit", "--json")
    assert result.keys() >= CONTRACT["audit"]


def test_options_stand_before_or_after_the_command(ready: Run, tmp_path: Path, tiny_bundle: Path) -> None:
    other = tmp_path / "other"
    assert ready("--home", other, "init", tiny_bundle)[0] == 0
    assert ready("init", tiny_bundle, "--home", other)[0] == 0
    before = json.loads(ready("--home", other, "--json", "status")[1])
    after = json.loads(ready("status", "--json", "--home", other)[1])
    assert before == after
    assert before["home"] == str(other)
    assert json.loads(ready("status", "--json")[1])["home"] != str(other)


def test_an_error_is_one_line_and_exit_code_1(run: Run, tmp_path: Path) -> None:
    code, out, err = run("status")
    assert (code, out) == (1, "")
    assert err.startswith("error: there is no home at ")
    assert err.count("\n") == 1
    (tmp_path / "empty.edge").touch()
    code, out, err = run("init", tmp_path / "empty.edge")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert not (tmp_path / "home").exists(), "a refused init leaves nothing behind"


def test_wrong_usage_is_exit_code_2(ready: Run) -> None:
    for args in (["teach"], ["frobnicate"], ["rollback", "x"], ["forget"], ["init", "x", "--runtime", "jax"]):
        code, out, err = ready(*args)
        assert (code, out) == (2, "")
        assert "Usage" in err or "Error" in err


def test_partly_done_is_exit_code_3_and_names_the_rest(ready: Run, pictures: Path) -> None:
    (pictures / "coins" / "broken.jpg").write_bytes(b"")
    code, out, err = ready("teach", "coins", pictures / "coins")
    assert code == 3
    assert "6 new examples of 'coins'" in out
    assert "skipped: " in err
    assert "broken.jpg is empty" in err
    assert ready("classify", pictures / "coins")[0] == 3
    assert ready("evaluate", pictures)[0] == 3


def test_names_of_files_do_not_steer_the_terminal(ready: Run, pictures: Path) -> None:
    evil = pictures / "coins" / "\x1b[2Jevil.png"
    evil.write_bytes(next((pictures / "coins").glob("coins*")).read_bytes())
    _, out, _ = ready("classify", evil)
    assert "\x1b" not in out
    assert "\\x1b[2Jevil.png" in out
    answer = json.loads(ready("classify", evil, "--json")[1])
    assert answer["image"] == str(evil)


def test_a_locked_home_is_one_line(ready: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT", 0.1)
    other = sqlite3.connect(tmp_path / "home" / database.FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    code, _, err = ready("teach", "coins", pictures / "coins")
    assert code == 1
    assert "locked by another process" in err
    other.execute("ROLLBACK")
    assert ready("teach", "coins", pictures / "coins")[0] == 0


def test_doctor_fails_where_something_is_wrong_and_says_what_to_do(ready: Run, tmp_path: Path) -> None:
    code, out, _ = ready("doctor")
    assert code == 0, out
    bundle = next((tmp_path / "home").glob("*.edge"))
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    code, out, _ = ready("doctor")
    assert code == 1
    assert "BAD bundle" in out
    assert "→ run edge init again" in out


def test_forget_relabel_and_rename_speak_plainly(ready: Run, pictures: Path) -> None:
    ready("teach", "coins", pictures / "coins", "--session", "monday")
    code, out, _ = ready("relabel", "brick", 1, pictures / "coins" / "coins_701.png")
    assert (code, out) == (0, "2 examples now 'brick'; to use them, run: edge retrain\n")
    code, out, _ = ready("rename", "coins", "Münzen 🪙")
    assert code == 0
    ready("retrain")
    code, out, _ = ready("forget", "--session", "monday")
    assert code == 0
    assert "forgot 6 examples; generation 3 is in use, trained without them" in out
    assert "overwritten because they were trained on them: generation 2" in out


def test_a_refused_head_is_told_plainly_and_is_no_error(ready: Run, tmp_path: Path) -> None:
    labels = sorted(COLOURS)
    taught = write_pictures(tmp_path / "taught", dict.fromkeys(labels, 12), first=200)
    held = write_pictures(tmp_path / "held", dict.fromkeys(labels, 3), first=40)
    for label in labels:
        ready("teach", label, taught / label)
        ready("teach", label, held / label, "--holdout")
    ready("retrain")
    for number, label in enumerate(labels):
        ready("relabel", labels[number - 1], *sorted((taught / label).iterdir())[::3])
    code, out, err = ready("retrain")
    assert (code, err) == (0, "")
    assert "generation 3 is a candidate, generation 2 stays in use: " in out
    assert "clearly worse: of " in out
    assert "edge retrain --force" in out
    assert "held out: " in out
    assert json.loads(ready("retrain", "--json")[1])["promoted"] is False
    assert "candidate" in ready("status")[1]
    out = ready("history")[1]
    assert "held out" in out
    assert "3 is clearly worse: of " in out
    assert "generation 5 is in use" in ready("retrain", "--force")[1]


def test_audit_speaks_plainly_and_writes_a_page(ready: Run, pictures: Path, tmp_path: Path) -> None:
    code, _, err = ready("audit")
    assert (code, err) == (1, "error: no example was taught here yet; to add some, run: edge teach LABEL PICTURES\n")
    ready("teach", "coins", pictures / "coins")
    ready("teach", "tin can", pictures / "brick")
    ready("relabel", "tin can", 1)
    code, out, _ = ready("audit", pictures, "--html", tmp_path / "page.html")
    assert code == 0
    assert "12 examples taught here checked, 30 from the bundle" in out
    assert "edge relabel " in out
    assert "expected gain from more examples: not measurable yet" in out
    assert f"wrote {tmp_path / 'page.html'}" in out
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    code, _, err = ready("audit", "--html", tmp_path / "no folder" / "page.html")
    assert code == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_held_out_pictures_are_told_apart(ready: Run, pictures: Path) -> None:
    code, out, _ = ready("teach", "coins", pictures / "coins", "--holdout")
    assert code == 0
    assert "6 new pictures of 'coins' held out in " in out
    assert "edge retrain" not in out
    out = ready("status")[1]
    assert "held out" in out


def test_interrupting_is_exit_code_130(ready: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.learner import Learner

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Learner, "retrain", interrupted)
    code, _, err = ready("retrain")
    assert code == 130
    assert "interrupted" in err


def test_python_m_edge_works_and_debug_shows_where(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge", "--home", str(tmp_path), "status"]
    quiet = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "EDGE_DEBUG": ""})
    assert quiet.returncode == 1
    assert "Traceback" not in quiet.stderr
    loud = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "EDGE_DEBUG": "1"})
    assert "HomeMissing" in loud.stderr
    assert "Traceback" in loud.stderr


HELP = """\
Usage: edge [OPTIONS] COMMAND [ARGS]...

  Classify pictures on this device, and teach it new labels.

  Everything it learns is stored in one folder, the home. Create the home from
  a bundle with `edge init`. After that, add examples with `edge teach` and
  fit a new model with `edge retrain`, which takes milliseconds and works
  offline.

Options:
  --version    Show the version and exit.
  --json       Print the result as JSON.
  --home PATH  Folder that holds everything learned here.
  -h, --help   Show this message and exit.

Commands:
  audit       Find problems in the examples, and suggest what to teach next.
  backup      Save the whole home, including the bundle, to one FILE.
  capture     Teach LABEL from a short burst of frames from SOURCE.
  classify    Print the most likely label of each of PICTURES.
  contribute  Send the examples taught here to the fleet's store at URL.
  doctor      Check this machine and the home, and say how to fix problems.
  evaluate    Measure accuracy on the labelled pictures in FOLDER.
  examples    List the examples taught here, or only those of LABEL.
  export      Export the whole classifier to one .onnx or .tflite FILE.
  follow      Take the release at URL that is meant for this device.
  forget      Delete EXAMPLES, and train again without them.
  history     List all generations with their accuracy, oldest first.
  init        Install BUNDLE in the home, after checking it on this machine.
  password    Set the password of the page that edge serve shows.
  relabel     Change the label of EXAMPLES to LABEL, which may be new.
  rename      Rename label OLD to NEW everywhere, in all generations.
  restore     Create a home from a backup FILE.
  retrain     Train on all examples, and use the result from now on.
  review      Label the frames that edge watch saved, then retrain.
  rollback    Go back to an earlier GENERATION.
  serve       Watch SOURCE, and serve a web page to teach and review.
  status      Show the installed bundle, the labels and the accuracy.
  teach       Store PICTURES as examples of LABEL, which may be new.
  trust       List the trusted public keys, or add KEY to them.
  verify      Check the whole home for damage, and repair it where possible.
  watch       Classify the frames of SOURCE continuously, until stopped.
"""


def test_help_is_this_page() -> None:
    child = subprocess.run([sys.executable, "-m", "edge", "--help"], capture_output=True, text=True, check=True)
    assert child.stdout == HELP
