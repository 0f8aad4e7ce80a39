"""Review and Learn over a real server: naming, undo, moving, renaming, figures, generations, and the backup."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from edge.learner import Learner
from tests.edge.conftest import COLOURS, picture, write_pictures

from .server import Server, serving


@pytest.fixture
def waiting(home: Path) -> Path:
    """Frames that wait for review: three of bricks, the first two all but the same, one of coins, and one damaged."""
    folder = home / "uncertain"
    folder.mkdir()
    first = picture("brick", 1, side=80)
    again = first.copy()
    again.putpixel((0, 0), (0, 0, 0))
    for second, image in enumerate((first, again, picture("brick", 2, side=80), picture("coins", 3, side=80))):
        image.save(folder / f"uncertain-20261124T10000{second}.000000.png")
    (folder / "uncertain-20261124T100009.000000.jpg").write_bytes(b"\xff\xd8\xff damaged")
    return folder


def listed(server: Server) -> Any:
    """What waits, when all of it was looked at."""
    return server.until(
        lambda: [found for found in [server.now("waiting")] if found["looked_at"] == len(found["frames"])]
    )[0]


def test_frames_are_listed_with_what_they_may_be_and_near_duplicates_as_one(waiting: Path, server: Server) -> None:
    assert server.now()["home"]["waiting"] == 5
    frames = listed(server)["frames"]
    assert [frame["readable"] for frame in frames] == [True] * 4 + [False]
    assert frames[0]["group"] == frames[1]["group"] != frames[3]["group"]
    assert frames[3]["top"][0]["label"] == "coins"
    assert server.get(f"waiting/{frames[0]['file']}").headers["Content-Type"] == "image/jpeg"
    assert server.get(f"waiting/{frames[4]['file']}").status_code == 422


def test_frames_that_are_named_together_are_one_session_and_can_be_taken_back(waiting: Path, server: Server) -> None:
    files = [frame["file"] for frame in listed(server)["frames"]]
    done = server.post("review/name", {"files": files[:3], "label": "wall"}).json()
    assert done["labelled"] == 3
    taught = server.now("examples?label=wall")["examples"]
    assert len({example["session"] for example in taught}) == 1
    assert server.post("review/name", {"files": files[2:4], "label": "wall"}).status_code == 409, "one is gone"
    assert len(listed(server)["frames"]) == 2
    assert server.post("review/undo", {"step": done["step"]}).json() == {"undone": 3}
    assert [frame["file"] for frame in listed(server)["frames"]] == files
    assert server.now("examples?label=coins")["count"] == 6
    assert server.post("review/undo", {"step": done["step"]}).status_code == 409


def test_a_useless_frame_is_put_away_and_can_be_taken_back(waiting: Path, server: Server) -> None:
    files = [frame["file"] for frame in listed(server)["frames"]]
    done = server.post("review/useless", {"files": files[3:]}).json()
    assert [frame["file"] for frame in listed(server)["frames"]] == files[:3]
    assert server.post("review/undo", {"step": done["step"]}).json() == {"undone": 2}
    assert [frame["file"] for frame in listed(server)["frames"]] == files


@pytest.mark.parametrize("file", ["../learner.db", "uncertain-/../../learner.db", "labelled", ""])
def test_only_frames_that_wait_can_be_asked_for(waiting: Path, server: Server, file: str) -> None:
    for path in ("review/name", "review/useless"):
        assert server.post(path, {"files": [file], "label": "wall"}).status_code == 400
    assert (server.home / "learner.db").exists()


def test_examples_are_moved_only_if_they_are_what_the_page_showed(server: Server) -> None:
    moved = server.post("examples/move", {"examples": [{"id": 1, "label": "coins"}], "label": "money"}).json()
    assert moved["moved"][0]["label"] == "money"
    for path in ("examples/move", "examples/forget", "undo"):
        stale = server.post(path, {"examples": [{"id": 1, "label": "coins"}], "label": "gold"})
        assert (stale.status_code, stale.json()["stale"], stale.json()["code"]) == (409, True, "page-outdated")
        assert "money" in stale.json()["error"]
    assert server.post("examples/forget", {"examples": [{"id": 1, "label": "money"}]}).status_code == 200
    assert server.post("examples/forget", {"examples": [{"id": 1, "label": "money"}]}).status_code == 409


def test_no_number_of_an_example_is_too_large_to_be_answered(closed: Server) -> None:
    for path in ("examples/move", "examples/forget", "undo"):
        stale = closed.post(path, {"examples": [{"id": 10**30, "label": "coins"}], "label": "gold"})
        assert (stale.status_code, stale.json()["code"]) == (409, "page-outdated"), path


def test_labels_are_renamed_merged_and_forgotten(server: Server) -> None:
    assert server.post("labels/rename", {"old": "coins", "new": "money", "merge": False}).json()["new"] == "money"
    assert server.post("labels/rename", {"old": "coins", "new": "gold", "merge": False}).status_code == 409
    asked = server.post("labels/rename", {"old": "money", "new": "grass", "merge": False}).json()
    assert asked["exists"]
    assert server.post("labels/rename", {"old": "money", "new": "grass", "merge": True}).json()["merged"]
    assert server.post("labels/forget", {"label": "grass", "count": 5}).status_code == 409
    assert server.post("labels/forget", {"label": "grass", "count": 6}).json()["labels"] == ["grass"]


def test_examples_are_listed_by_label_by_id_and_page_by_page(closed: Server) -> None:
    newest = [example["id"] for example in closed.now("examples")["examples"]]
    assert newest == [6, 5, 4, 3, 2, 1]
    assert [example["id"] for example in closed.now("examples?before=3")["examples"]] == [2, 1]
    among = closed.now("examples?ids=2,5,99")
    assert ([example["id"] for example in among["examples"]], among["count"]) == ([5, 2], 2)
    gone = closed.get("examples?label=money")
    assert (gone.status_code, gone.json()["code"]) == (409, "page-outdated")
    for asked in ("before=x", "before=-1", "ids=1,x", "ids=" + "9" * 19, "before=٣"):
        odd = closed.get(f"examples?{asked}")
        assert (odd.status_code, odd.json()["code"]) == (400, "request-invalid"), asked


def test_an_example_has_the_picture_that_was_kept_of_it_or_that_of_its_unchanged_file(
    home: Path, tmp_path: Path
) -> None:
    with Learner(home) as learner:
        learner.remember("keep_crops", "0")
        write_pictures(tmp_path / "more", {"brick": 1}, first=950)
        learner.teach("brick", [tmp_path / "more" / "brick"])
    with serving(home) as server:
        assert server.get("examples/1.jpg").content.startswith(b"\xff\xd8\xff")
        (file,) = (tmp_path / "more" / "brick").iterdir()
        assert server.get("examples/7.jpg").content.startswith(b"\xff\xd8\xff")
        file.write_bytes(next((tmp_path / "taught" / "coins").iterdir()).read_bytes())  # another picture by its name
        assert server.get("examples/7.jpg").status_code == 404
        file.unlink()
        assert server.get("examples/7.jpg").status_code == 404
        for number in (99, 10**30):
            missing = server.get(f"examples/{number}.jpg")
            assert (missing.status_code, missing.json()["code"]) == (422, "example-unknown")


def test_a_home_that_was_taught_nothing_has_no_findings_but_says_why(tiny_bundle: Path, tmp_path: Path) -> None:
    Learner.init(tmp_path / "home", tiny_bundle).store.close()
    with serving(tmp_path / "home") as server:
        found = server.now("findings")
        assert found["examples"] == 0
        assert found["note"]


def test_a_new_generation_is_told_beside_the_old_one_and_taken_back_once(server: Server) -> None:
    made = server.post("retrain", {"force": False}).json()
    assert made["before"]["generation"] == 2
    assert made["generation"] == 3
    assert server.now("history")[0]["serving"]
    assert server.post("rollback", {"generation": 2, "serving": 2}).status_code == 409
    assert server.post("rollback", {"generation": 2, "serving": 3}).json()["generation"] == 2
    assert server.now()["home"]["generation"] == 2


def test_a_worse_generation_stays_a_candidate_until_it_is_forced(home: Path, tmp_path: Path) -> None:
    labels = sorted(COLOURS)
    write_pictures(tmp_path / "more", dict.fromkeys(labels, 12), first=200)
    with Learner(home) as learner:
        for label in labels:
            learner.teach(label, [tmp_path / "more" / label])
        learner.retrain()
    with serving(home) as server:
        for example in [one for label in labels for one in server.now(f"examples?label={label}")["examples"]][::3]:
            seen, other = {"id": example["id"], "label": example["label"]}, labels[labels.index(example["label"]) - 1]
            server.post("examples/move", {"examples": [seen], "label": other})
        made = server.post("retrain", {"force": False}).json()
        assert not made["promoted"]
        assert made["refusal"].endswith(".")
        assert "edge " not in made["refusal"]
        assert server.now()["home"]["candidate"] == made["generation"]
        assert server.post("retrain", {"force": True}).json()["promoted"]


def test_findings_are_those_of_audit(server: Server) -> None:
    found = server.now("findings")
    assert found["examples"] == 6
    assert found["labels"] == ["brick", "coins", "grass", "gravel"]
    assert len(found["confusion"]) == 4


def test_the_learner_goes_on_while_mistakes_are_looked_for(home: Path) -> None:
    import threading

    import numpy as np

    from edge.home.examples import Embedded

    rng, dimension = np.random.default_rng(0), 0
    with Learner(home) as learner, learner.store.transaction():
        dimension = learner.info.dimension
        for number in range(4000):
            row = rng.normal(size=dimension).astype(np.float32) + number % 5
            item = Embedded(f"kind {number % 5}", row, f"{number:064x}", f"{number}.jpg")
            learner.store.add_example(item, learner.info.fingerprint, None, learner.now())
    with serving(home) as server:
        found: list[Any] = []
        looking = threading.Thread(target=lambda: found.append(requests.get(server.url + "findings").json()))
        looking.start()
        answered = 0
        while looking.is_alive():
            assert server.now("examples?label=coins")["count"] == 6  # by the learner's thread
            answered += looking.is_alive()
        assert found[0]["examples"] == 4006
        assert answered > 1, "one may be answered just before the findings are"


def test_the_backup_makes_the_same_home(server: Server, tmp_path: Path) -> None:
    got = server.get("backup")
    assert got.headers["Content-Disposition"].startswith("attachment")
    (tmp_path / "taken.backup").write_bytes(got.content)
    command = [
        sys.executable,
        "-m",
        "edge",
        "--home",
        str(tmp_path / "again"),
        "restore",
        str(tmp_path / "taken.backup"),
    ]
    assert subprocess.run(command, capture_output=True).returncode == 0
    with serving(tmp_path / "again") as other:
        assert other.now("examples") == server.now("examples")
    server.until(lambda: not list(server.home.glob("download-*")))


def test_many_ask_at_once_and_each_gets_its_answer(server: Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import requests

    from .test_serve import packed

    def work(number: int) -> int:
        with requests.Session() as session:
            headers = {"Origin": server.url.rstrip("/"), "Content-Type": "image/jpeg"}
            sent = session.post(
                f"{server.url}photo?label=wall {number % 2}", data=packed("brick", number), headers=headers
            )
            return sent.status_code * session.get(f"{server.url}now").json()["home"]["untrained_examples"] and 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(24))) == 24
    assert server.now("examples")["count"] == 30
