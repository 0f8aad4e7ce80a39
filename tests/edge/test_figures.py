"""Figures on the command line: true, finite, and they tell what they left out, whatever was taught."""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any, NoReturn

import pytest

from .conftest import Run, write_pictures


def strict(text: str) -> Any:
    """Read JSON as a strict reader does: NaN and infinities are not JSON."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} in {text}")

    return json.loads(text, parse_constant=refuse)


def ask(run: Run, *args: object) -> Any:
    code, out, err = run(*args, "--json")
    assert code == 0, err
    return strict(out)


@pytest.fixture
def bursts(ready: Run, tmp_path: Path) -> Run:
    """A home as README's camera makes it: two new labels, a burst of each."""
    frames = write_pictures(tmp_path / "frames", {"coins": 8, "gravel": 8}, first=50)
    assert ready("teach", "open", frames / "coins", "--session", "open 1")[0] == 0
    assert ready("teach", "shut", frames / "gravel", "--session", "shut 1")[0] == 0
    return ready


@pytest.fixture
def only_bursts(bursts: Run) -> Run:
    """The same without any label of the factory."""
    for label in ("brick", "grass", "gravel"):
        assert bursts("forget", "--label", label)[0] == 0
    return bursts


def test_a_burst_of_each_new_label_makes_a_head_that_serves(bursts: Run) -> None:
    made = ask(bursts, "retrain")
    assert made["promoted"]
    assert made["serving"] == made["generation"] == 2
    assert isinstance(made["loo_accuracy"], float)
    assert [(u["label"], u["examples"]) for u in made["unmeasured"]] == [("open", 8), ("shut", 8)]
    assert all("one session; capture another burst later" in u["reason"] for u in made["unmeasured"])
    assert ask(bursts, "status")["generation"] == 2
    assert ask(bursts, "status")["unmeasured"] == made["unmeasured"]
    assert ask(bursts, "history")[1]["unmeasured"] == made["unmeasured"]
    assert ask(bursts, "audit")["unmeasured"] == made["unmeasured"]
    for command in ("status", "history", "audit"):
        out = bursts(command)[1]
        assert "all 8 pictures of 'open' are of one session" in out
        assert "nan" not in out.lower()
    assert bursts("retrain", "--if-taught")[1] == "", "nothing is new"


def test_nothing_that_can_be_measured_is_told_everywhere_and_the_head_serves(only_bursts: Run, tmp_path: Path) -> None:
    made = ask(only_bursts, "retrain")
    assert made["serving"] == made["generation"]
    assert (made["loo_accuracy"], made["loo_interval"]) == (None, None)
    assert made["note"].startswith("not measurable yet: all 8 pictures of 'open' are of one session")
    for command in ("status", "history", "audit"):
        entry = ask(only_bursts, command)
        entry = entry[-1] if command == "history" else entry
        assert entry["loo_accuracy"] is None
        assert [u["label"] for u in entry["unmeasured"]] == ["open", "shut"]
        assert "nan" not in only_bursts(command)[1].lower()
    assert only_bursts("audit", "--html", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "one session" in page
    assert not re.search(r"\bnan\b", re.sub('base64,[^"]*', "", page.lower()))

    frames = write_pictures(tmp_path / "again", {"coins": 8, "gravel": 8}, first=80)
    only_bursts("teach", "open", frames / "coins", "--session", "open 2")
    only_bursts("teach", "shut", frames / "gravel", "--session", "shut 2")
    made = ask(only_bursts, "retrain", "--if-taught")
    assert made["unmeasured"] == []
    assert made["loo_accuracy"] is not None


def test_a_label_of_one_picture_is_named_beside_the_figure_of_the_others(ready: Run, tmp_path: Path) -> None:
    one = write_pictures(tmp_path / "one", {"coins": 1})
    assert ready("teach", "coins", one / "coins")[0] == 0
    made = ask(ready, "retrain")
    assert made["loo_accuracy"] > 0.5
    assert made["unmeasured"] == [{"label": "coins", "examples": 1, "reason": "'coins' has 1 picture, 5 are needed"}]
    assert "'coins' has 1 picture" in ready("retrain")[1]
    ready("rename", "coins", "money")
    assert ask(ready, "status")["unmeasured"][0]["reason"] == "'money' has 1 picture, 5 are needed"


def test_evaluate_names_the_labels_of_which_the_folder_has_few_pictures_or_none(ready: Run, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "few", {"brick": 6, "grass": 2}, first=30)
    found = ask(ready, "evaluate", folder)
    assert found["examples"] == 8
    assert {u["label"]: u["examples"] for u in found["unmeasured"]} == {"grass": 2, "gravel": 0}
    out = ready("evaluate", folder)[1]
    assert "'grass' has 2 pictures, 5 are needed" in out
    assert "no picture of 'gravel' is in the folder" in out


def test_a_home_in_which_an_older_program_kept_nan_opens_and_serves(only_bursts: Run, tmp_path: Path) -> None:
    made = ask(only_bursts, "retrain")
    with sqlite3.connect(tmp_path / "home" / "learner.db") as db:
        (kept,) = db.execute("SELECT figures FROM heads WHERE generation = ?", (made["generation"],)).fetchone()
        old = {k: v for k, v in json.loads(kept).items() if k != "unmeasured"}
        old |= {"loo_accuracy": float("nan"), "loo_interval": [0.0, 1.0]}
        db.execute("UPDATE heads SET figures = ? WHERE generation = ?", (json.dumps(old), made["generation"]))
    db.close()
    code, out, err = only_bursts("status", "--json")
    assert (code, err) == (0, "")
    assert strict(out)["generation"] == made["generation"]
    assert strict(out)["loo_accuracy"] is None
    assert "not measurable yet" in only_bursts("status")[1]
    assert ask(only_bursts, "history")[-1]["loo_interval"] is None
    assert only_bursts("verify")[0] == 0
    assert ask(only_bursts, "retrain")["serving"] == made["generation"] + 1
