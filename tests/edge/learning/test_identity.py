"""A label stays the one it is: through renames, merges, forgetting, another precision, a newer bundle, an upgrade."""

import json
import sqlite3
from pathlib import Path

import pytest

from edge.answers import Answer
from edge.errors import LabelError, NotEnough
from edge.home import schema
from edge.home.database import FILE
from edge.home.state import Home
from edge.labels import beside
from edge.learner import Learner
from edge.network.backbone import Backbone
from tests.edge.conftest import Run, picture, write_bundle, write_pictures
from tests.refused import refused

Factory = dict[str, int]


@pytest.fixture
def newer(tmp_path: Path, network: Backbone) -> Path:
    """A later bundle of the same backbone: without grass, with coins, and with more of gravel."""
    photos = write_pictures(tmp_path / "newer", {"brick": 4, "gravel": 12, "coins": 5})
    return write_bundle(tmp_path / "newer.edge", photos, network)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", {"coins": 6, "brick": 4, "grass": 3}, first=300)


def factory(home: Home) -> Factory:
    return {entry.label: entry.factory for entry in home.status().labels if entry.factory}


def local(home: Home) -> Factory:
    return {entry.label: entry.local for entry in home.status().labels if entry.local}


def test_a_renamed_label_stays_one_when_the_bundle_is_adopted_again(
    learner: Learner, tiny_bundle: Path, newer: Path, pictures: Path
) -> None:
    learner.teach("brick", [pictures / "brick"])
    learner.rename("brick", "wall")
    for bundle, count in ((tiny_bundle, 10), (newer, 4), (tiny_bundle, 10)):
        for format in ("onnx", "tflite", None):
            try:
                again = Learner.init(learner.home, bundle, format=format)
            except Exception as error:
                if type(error).__name__ != "RuntimeMissing":
                    raise
                continue
            with again:
                assert factory(again)["wall"] == count
                assert local(again) == {"wall": 4}
                assert "brick" not in again.serving().head.labels


def test_a_bundle_of_which_too_much_was_forgotten_is_not_installed_and_says_how_to_restore_it(
    learner: Learner, tiny_bundle: Path, newer: Path
) -> None:
    learner.forget(label="grass")
    with Learner.init(learner.home, newer) as other:
        other.forget(label="gravel")
        before = other.status()
        restore = f"edge init {tiny_bundle} --restore-label grass --restore-label gravel"
        with refused("too-few-labels", NotEnough, "'grass'", "'gravel'", restore):
            Learner.init(learner.home, tiny_bundle)
        assert other.status() == before
        other.classify(picture("brick", 1))
    with Learner.init(learner.home, tiny_bundle, labels=["grass"]) as again:
        assert factory(again) == {"brick": 10, "grass": 10}


def test_a_forgotten_label_stays_forgotten_until_it_is_asked_back(
    learner: Learner, tiny_bundle: Path, newer: Path
) -> None:
    learner.forget(label="grass")
    for bundle in (tiny_bundle, newer, tiny_bundle):  # the one between does not even have it
        with Learner.init(learner.home, bundle) as again:
            assert "grass" not in factory(again)
            assert again.status().forgotten == (() if bundle == newer else ("grass",))
    with Learner.init(learner.home, tiny_bundle, labels=["grass"]) as again:
        assert factory(again) == {"brick": 10, "grass": 10, "gravel": 10}
        assert again.status().forgotten == ()
    with Learner.init(learner.home, tiny_bundle) as again:
        assert factory(again)["grass"] == 10, "and stays back"
    with refused("label-unknown", LabelError, "'tin'", "brick, grass, gravel"):
        Learner.init(learner.home, tiny_bundle, labels=["tin"])


def test_a_forgotten_label_that_is_taught_anew_has_its_own_examples_alone(
    learner: Learner, tiny_bundle: Path, pictures: Path
) -> None:
    learner.forget(label="grass")
    learner.teach("grass", [pictures / "grass"])
    with Learner.init(learner.home, tiny_bundle) as again:
        assert factory(again) == {"brick": 10, "gravel": 10}
        assert local(again) == {"grass": 3}
    with Learner.init(learner.home, tiny_bundle, labels=["grass"]) as again:
        assert factory(again)["grass"] == 10
        assert [entry.label for entry in again.status().labels].count("grass") == 1, "they join"


def test_a_new_label_of_a_newer_bundle_joins_the_one_taught_here(
    learner: Learner, newer: Path, tiny_bundle: Path, pictures: Path
) -> None:
    learner.teach("coins", [pictures / "coins"])
    with Learner.init(learner.home, newer) as again:
        assert (factory(again)["coins"], local(again)["coins"]) == (5, 6)
        again.rename("coins", "money")
    with Learner.init(learner.home, tiny_bundle) as again:
        assert (factory(again).get("money"), local(again)["money"]) == (None, 6)
    with Learner.init(learner.home, newer) as again:
        assert (factory(again)["money"], local(again)["money"]) == (5, 6), "remembered by the name in the bundle"


def test_a_name_given_up_by_a_rename_is_free_and_the_bundle_keeps_to_the_renamed(
    learner: Learner, tiny_bundle: Path, pictures: Path
) -> None:
    learner.rename("grass", "lawn")
    learner.teach("grass", [pictures / "grass"])
    with Learner.init(learner.home, tiny_bundle) as again:
        assert factory(again) == {"brick": 10, "gravel": 10, "lawn": 10}
        assert local(again) == {"grass": 3}


def test_a_merged_label_stays_one(learner: Learner, tiny_bundle: Path, newer: Path) -> None:
    learner.rename("gravel", "brick", merge=True)
    for bundle, count in ((tiny_bundle, 20), (newer, 16)):
        with Learner.init(learner.home, bundle) as again:
            assert factory(again)["brick"] == count
            assert "gravel" not in factory(again)


def make_old(path: Path) -> None:
    """Make of a database what 0.1.0 would have written: it knew the labels by their place in the bundle alone."""
    old = sqlite3.connect(path.with_name("old.db"))
    old.create_function("crc32", -1, schema.crc32, deterministic=True)
    for number, script in enumerate(schema._MIGRATIONS[:5], 1):
        old.executescript(script)
        old.execute(f"PRAGMA user_version = {number}")
    old.execute("ATTACH ? AS new", (str(path),))
    for (table,) in old.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"):
        columns = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})"))
        old.execute(f"INSERT INTO main.{table}({columns}) SELECT {columns} FROM new.{table}")
    old.execute("DELETE FROM main.meta WHERE key IN ('own_bundles', 'own_folder')")
    old.commit()
    old.close()
    path.with_name("old.db").rename(path)


def test_a_home_of_the_program_before_remembers_what_was_renamed_and_forgotten(
    learner: Learner, tiny_bundle: Path, newer: Path
) -> None:
    learner.rename("brick", "wall")
    learner.forget(label="grass")
    learner.close()
    make_old(learner.home / FILE)
    for bundle in (newer, tiny_bundle):
        with Learner.init(learner.home, bundle) as again:
            assert "wall" in factory(again)
            assert not {"brick", "grass"} & factory(again).keys()


# merging --------------------------------------------------------------------------------------------------------------


def test_two_labels_become_one_with_all_examples_sessions_and_a_head(learner: Learner, pictures: Path) -> None:
    learner.teach("coins", [pictures / "coins"], session="monday")
    learner.teach("tins", [pictures / "grass"], held_out=True)
    learner.teach("tins", [pictures / "brick"])
    learner.retrain(force=True)
    with refused("label-taken", LabelError, "edge rename coins tins --merge"):
        learner.rename("coins", "tins")
    result = learner.rename("coins", "tins", merge=True)
    assert (result.merged, result.examples, result.refitted) == (True, 6, True)
    assert 2 in result.overwritten, "it told the two apart"
    assert 1 not in result.overwritten, "it knew neither"
    assert {e.session for e in learner.store.examples(label="tins")} == {"monday", None}
    assert learner.store.label_id("coins") is None
    assert "coins" not in learner.serving().head.labels
    (answer,) = learner.classify([pictures / "coins" / "coins_300.png"])
    assert isinstance(answer, Answer)
    assert learner.store.count_after(learner.serving().generation) == 0, "nothing waits for a retrain"


def test_a_merge_that_leaves_one_label_changes_nothing(learner: Learner) -> None:
    learner.forget(label="gravel")
    before = learner.status()
    with refused("too-few-labels", NotEnough):
        learner.rename("brick", "grass", merge=True)
    assert learner.status() == before


def test_a_label_without_an_example_blocks_no_name(learner: Learner, pictures: Path) -> None:
    taught = learner.teach("coins", [pictures / "coins"])
    learner.forget([str(i) for i in taught.examples])
    learner.rename("brick", "coins")
    assert factory(learner) == {"coins": 10, "grass": 10, "gravel": 10}


def test_a_label_whose_examples_were_all_relabelled_blocks_no_name_even_if_it_serves(
    learner: Learner, pictures: Path
) -> None:
    taught = learner.teach("tin", [pictures / "coins"])
    learner.retrain(force=True)
    learner.relabel([str(i) for i in taught.examples], "can")
    assert "tin" in learner.serving().head.labels
    learner.rename("can", "tin")
    assert local(learner) == {"tin": 6}
    assert sorted(learner.serving().head.labels) == ["brick", "grass", "gravel", "tin"]


def test_a_label_that_only_a_bundle_of_the_past_had_blocks_no_name(
    learner: Learner, newer: Path, tiny_bundle: Path, pictures: Path
) -> None:
    learner.teach("lawn", [pictures / "grass"])
    for bundle in (newer, tiny_bundle):
        with Learner.init(learner.home, bundle) as again:
            if bundle == newer:
                again.rename("lawn", "grass")
            assert local(again) == {"grass": 3}
    with Learner(learner.home) as again:
        assert factory(again)["grass"] == 10


def test_a_name_that_nothing_has_is_refused_in_one_line(learner: Learner) -> None:
    for old, new in (("tin", "can"), ("brick", "brick")):
        with pytest.raises(LabelError) as error:
            learner.rename(old, new, merge=True)
        assert "\n" not in str(error.value)


# names that are nearly the same ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["Coins", "COINS", "co ins", "ｃｏｉｎｓ"])
def test_a_label_that_differs_in_case_blanks_or_width_alone_is_told_once(
    learner: Learner, pictures: Path, label: str
) -> None:
    assert learner.teach("coins", [pictures / "coins"]).complaints == ()
    (line, *_) = learner.teach(label, [pictures / "brick"]).complaints
    assert f"{label!r}" in line
    assert "'coins'" in line
    assert "--merge" in line
    assert not any("--merge" in line for line in learner.teach(label, [pictures / "grass"]).complaints)
    assert learner.beside("grass") == ()


def test_every_way_to_a_new_label_warns_and_a_change_of_case_does_not(ready: Run, pictures: Path) -> None:
    ready("teach", "coins", pictures / "coins")
    for command in (("relabel", "Coins", "1"), ("rename", "brick", "COINS")):
        code, _, err = ready(*command)
        assert code == 0
        assert "warning: '" in err
        assert "--merge" in err
    assert ready("rename", "grass", "Grass")[2] == ""


def test_a_label_is_no_neighbour_of_itself() -> None:
    assert beside("straße", ["straße", "strasse"]) != ()
    assert beside("a", ["b", "a"]) == ()


# the commands ---------------------------------------------------------------------------------------------------------


def test_a_forgotten_label_is_told_at_init_with_the_way_back(ready: Run, tiny_bundle: Path) -> None:
    assert ready("forget", "--label", "grass")[0] == 0
    code, out, _ = ready("init", tiny_bundle)
    assert code == 0
    assert "1 label of the bundle stays forgotten: grass" in out
    assert "--restore-label grass" in out
    assert json.loads(ready("init", tiny_bundle, "--json")[1])["forgotten"] == ["grass"]
    assert "stays forgotten" not in ready("init", tiny_bundle, "--restore-label", "grass")[1]


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        (("rename", " brick", "wall "), {"old": "brick", "new": "wall", "merged": False, "examples": 0}),
        (("rename", "coins", "brick", "--merge"), {"old": "coins", "merged": True, "examples": 6, "refitted": True}),
        (("forget", "1"), {"examples": 1, "labels": [], "refitted": False}),
        (("forget", "--label", "coins"), {"examples": 6, "labels": ["coins"], "refitted": True}),
        (("retrain", "--if-taught"), {"nothing_new": False, "generation": 2}),
        (("examples", "grass"), {"label": "grass", "examples": [], "count": 0}),
    ],
)
def test_what_changes_a_home_tells_it_as_json(
    ready: Run, pictures: Path, command: tuple[str, ...], fields: dict[str, object]
) -> None:
    ready("teach", "coins", pictures / "coins")
    code, out, err = ready(*command, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert {name: told[name] for name in fields} == fields


def test_what_got_another_label_is_told_as_json(ready: Run, pictures: Path) -> None:
    ready("teach", "coins", pictures / "coins")
    told = json.loads(ready("relabel", "tin", "1", "2", "--json")[1])
    assert [(e["id"], e["label"], e["held_out"]) for e in told] == [(1, "tin", False), (2, "tin", False)]


def test_a_retrain_with_nothing_new_says_so_as_json(ready: Run) -> None:
    code, out, _ = ready("retrain", "--if-taught", "--json")
    assert code == 0
    assert json.loads(out) == {"generation": 1, "promoted": False, "nothing_new": True}


def test_the_examples_are_listed_with_all_that_is_known_of_them(ready: Run, pictures: Path) -> None:
    ready("teach", "coins", pictures / "coins", "--session", "monday")
    ready("teach", "brick", pictures / "brick", "--holdout")
    lines = ready("examples")[1].splitlines()
    assert len(lines) == 11
    assert lines[0].split()[:2] == ["1", "coins"]
    assert "session monday" in lines[0]
    assert lines[0].endswith("coins_300.png")
    assert "held out" in lines[6]
    assert lines[-1] == "10 examples taught here, 4 of them held out"
    assert ready("examples", "coins")[1].splitlines()[-1] == "6 examples of 'coins' taught here"
    told = json.loads(ready("examples", "brick", "--json")[1])
    assert told["count"] == len(told["examples"]) == 4
    assert told["examples"][0]["id"] == 7
    assert told["examples"][0].keys() == {"id", "label", "image", "session", "source", "created", "held_out"}
    assert told["examples"][0]["held_out"] is True
    code, out, err = ready("examples", "tin")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "tin" in err


def test_a_long_list_is_not_held_in_memory(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from edge.home.examples import Embedded

    with learner.store.transaction():
        for number in range(1203):
            item = Embedded("coins", np.ones(8, np.float32), f"{number:064}", "x")
            learner.store.add_example(item, learner.info.fingerprint, None, learner.now())
    sizes: list[int] = []
    real = learner.store.examples

    def counted(where: str = "TRUE", *values: object) -> object:
        found = real(where, *values)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(learner.store, "examples", counted)
    assert [e.id for e in learner.list_examples()] == list(range(1, 1204))
    assert max(sizes) <= 500


def test_a_session_may_be_named_by_bytes_that_are_no_text(learner: Learner, pictures: Path) -> None:
    name = "caf\udce9"  # as a shell hands over bytes that are not UTF-8
    taught = learner.teach("coins", [pictures / "coins"], session=name)
    assert [one.id for one in learner.find_examples(session=name)] == list(taught.examples)
    with refused("label-unknown", LabelError):
        learner.forget(session="other\udce9")
    assert learner.forget(session=name).examples == len(taught.examples)
