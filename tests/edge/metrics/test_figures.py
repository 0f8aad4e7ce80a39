"""Figures on the command line: true, finite, and they tell what they left out, whatever was taught."""

import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from edge.metrics.binomial import tail
from tests.edge.conftest import Run, write_pictures


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
        assert "all 8 pictures of 'open' are from one session" in out
        assert "nan" not in out.lower()
    assert bursts("retrain", "--if-taught", "--json")[0] == 0, "nothing is new"
    audited = bursts("audit")[1]
    assert "measured on all examples of 3 labels" in audited
    assert "no label looks wrong\n" not in audited, "of the bursts that is not known"
    assert ask(bursts, "status")["generation"] == 2


def test_nothing_that_can_be_measured_is_told_everywhere_and_the_head_serves(only_bursts: Run, tmp_path: Path) -> None:
    made = ask(only_bursts, "retrain")
    assert made["serving"] == made["generation"]
    assert (made["loo_accuracy"], made["loo_interval"]) == (None, None)
    assert made["note"].startswith("not measurable yet: all 8 pictures of 'open' are from one session")
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
    assert made["unmeasured"] == [
        {"label": "coins", "examples": 1, "reason": "'coins' has 1 picture, but 5 are needed"}
    ]
    assert "'coins' has 1 picture" in ready("retrain")[1]
    ready("rename", "coins", "money")
    assert ask(ready, "status")["unmeasured"][0]["reason"] == "'money' has 1 picture, but 5 are needed"


def test_evaluate_names_the_labels_of_which_the_folder_has_few_pictures_or_none(ready: Run, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "few", {"brick": 6, "grass": 2}, first=30)
    found = ask(ready, "evaluate", folder)
    assert found["examples"] == 8
    assert {u["label"]: u["examples"] for u in found["unmeasured"]} == {"grass": 2, "gravel": 0}
    out = ready("evaluate", folder)[1]
    assert "'grass' has 2 pictures, but 5 are needed" in out
    assert "the folder contains no picture of 'gravel'" in out


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


def test_a_chart_of_what_is_all_right_holds_only_numbers() -> None:
    from edge.answers import LearningCurve
    from edge.audit.charts import learning_curve

    for right in (1.0, 0.0):
        drawn = learning_curve(LearningCurve((3.0, 4.0, 8.0), *3 * ((right,) * 3,)), 0.0)
        assert not re.search(r"\b(nan|inf)\b", drawn.lower())
        assert drawn.count("<circle") == 3


def test_a_file_whose_name_is_not_utf_8_is_shown_on_the_page_and_in_every_answer(ready: Run, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", {"brick": 8, "coins": 8}, first=60)
    for label in ("brick", "coins"):
        for path in sorted((folder / label).iterdir())[:2]:
            path.rename(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9_" + path.name.encode()))
    assert ready("teach", "brick", folder / "coins")[0] == 0  # all of them wrong, so that they are shown
    assert ready("retrain", "--force")[0] == 0
    page = tmp_path / os.fsdecode(b"r\xe9sum\xe9.html")
    code, out, err = ready("audit", folder / "brick", "--html", page)
    assert code == 0, err
    assert page.read_text(encoding="utf-8").count("<svg") >= 1
    assert strict(ready("audit", folder / "brick", "--json")[1])["examples"] == 8
    for command in (["evaluate", folder], ["doctor", folder], ["classify", folder]):
        code, out, err = ready(*command, "--json")
        assert code in (0, 1), err
        assert [json.loads(line) for line in out.splitlines()]


def test_the_page_shows_a_picture_whose_name_is_not_utf_8(ready: Run, tmp_path: Path) -> None:
    from edge.audit.findings import thumbnails
    from edge.home.state import Home

    folder = write_pictures(tmp_path / "pictures", {"coins": 2}, first=60)
    path = next(iter(sorted((folder / "coins").iterdir())))
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    path.rename(odd)
    assert ready("teach", "coins", odd)[0] == 0
    with Home(tmp_path / "home") as home:
        (example,) = home.store.examples()
        assert example.source.endswith(r"caf\xe9.png")
        assert list(thumbnails(home, [example])) == [example.id]
        home.put_uncertain(odd.parent / os.fsdecode(b"uns\xfcre"))
        assert home.uncertain == odd.parent / os.fsdecode(b"uns\xfcre")


def test_the_nearest_are_taught_and_never_held_out(ready: Run, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", {"coins": 4}, first=60)
    pictures = sorted((folder / "coins").iterdir())
    assert ready("teach", "coins", pictures[0], "--holdout")[0] == 0
    assert ready("teach", "coins", *pictures[1:])[0] == 0
    near = ask(ready, "classify", pictures[0], "--explain")["nearest"]
    assert len(near) == 5
    assert 1 not in [n["example"] for n in near]


@pytest.mark.parametrize("n", [3, 60, 2_400, 400_000])
def test_a_tail_is_a_probability_whatever_the_number_of_pictures(n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for least in (0, 1, n // 20, n // 2, n):
        for share in (0.0, 0.05, 0.5, 1.0):
            found = tail(n, least, share)
            assert 0 <= found <= 1
            assert found == pytest.approx(stats.binom.sf(least - 1, n, share), rel=1e-6, abs=1e-290)


def test_thousands_of_strange_pictures_are_compared_and_told(ready: Run, tmp_path: Path) -> None:
    from edge.learner import Learner
    from edge.learning.domain_check import DomainCheck
    from edge.network.photos import Photo

    with Learner(tmp_path / "home") as learner:
        check = DomainCheck(learner)
        look = next(
            iter(learner.embed([write_pictures(tmp_path, {"brick": 1}) / "brick" / "brick_000.png"], look=True))
        )
        strange = Photo(look.path, "", -np.ones(8, np.float32), None, 0.0, look.look)
        for i in range(2_400):
            check.add(strange if i % 2 else look)
        assert check.lines() == [] or "another scene" in check.lines()[0]
        assert any("1200 of 2400" in line or "2400 of 2400" in line for line in check.lines())


def test_factory_labels_go_as_long_as_two_labels_are_left_and_else_it_is_said_what_to_do_first(
    ready: Run, tmp_path: Path
) -> None:
    frames = write_pictures(tmp_path / "frames", {"coins": 2, "grass": 2}, first=50)
    assert ready("forget", "--label", "brick")[0] == 0
    code, _, err = ready("forget", "--label", "grass")
    assert code == 1
    assert "nothing was forgotten: only 'gravel' would remain" in err
    assert "edge teach LABEL PICTURES" in err
    assert [entry["label"] for entry in ask(ready, "status")["labels"]] == ["grass", "gravel"]
    ready("teach", "open", frames / "coins")
    assert ready("forget", "--label", "grass")[0] == 0, "what is taught counts before it is retrained"
    assert ready("forget", "--label", "gravel")[0] == 1
    ready("teach", "shut", frames / "grass")
    assert ready("forget", "--label", "gravel")[0] == 0
    assert [entry["label"] for entry in ask(ready, "status")["labels"]] == ["open", "shut"]
    code, _, err = ready("forget", "1", "2")
    assert (code, "only 'shut' would remain" in err) == (1, True)
