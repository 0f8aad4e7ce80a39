"""The audit over a home: it finds what was done wrong, names the command that mends it, and changes nothing."""

import json
import re
import shlex
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.answers import to_json
from edge.audit.findings import least_sure
from edge.cli.wording import audited
from edge.errors import NotEnough
from edge.learner import Learner
from edge.picture.preprocess import CROP_BYTES
from tests.edge.conftest import COLOURS, write_pictures
from tests.refused import refused


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), dict.fromkeys(COLOURS, 12), first=200)


def teach_all(learner: Learner, pictures: Path) -> None:
    for label in COLOURS:
        learner.teach(label, [pictures / label])
    learner.retrain()


def test_a_wrong_label_is_named_with_the_command_that_mends_it(learner: Learner, pictures: Path) -> None:
    teach_all(learner, pictures)
    learner.relabel(["3"], "coins")
    found = next(s for s in learner.audit().suspects if s.example == 3)
    right = "brick"
    assert (found.label, found.guess, found.remedy) == ("coins", right, f"edge relabel {right} 3")
    command, name, *examples = shlex.split(found.remedy)[1:]
    assert command == "relabel"
    learner.relabel(examples, name)
    assert 3 not in [s.example for s in learner.audit().suspects if s.likely]


def test_an_audit_changes_nothing(learner: Learner, pictures: Path, tmp_path: Path) -> None:
    teach_all(learner, pictures)
    before = learner.store.version()
    learner.audit([pictures], tmp_path / "page.html")
    assert learner.store.version() == before


def test_a_picture_saved_again_is_found_under_its_label_and_under_another(
    learner: Learner, pictures: Path, tmp_path: Path
) -> None:
    teach_all(learner, pictures)
    for number, quality in enumerate((100, 99)):
        with Image.open(pictures / "brick" / "brick_204.png") as image:
            image.save(tmp_path / f"again_{number}.jpg", quality=quality)
    same = learner.teach("brick", [tmp_path / "again_0.jpg"]).examples[0]
    other = learner.teach("my coins", [tmp_path / "again_1.jpg"]).examples[0]
    found = learner.audit()
    first = learner.find_examples([str(pictures / "brick" / "brick_204.png")])[0].id
    (group,) = (r for r in found.repeated if same in r.examples)  # to this network all bricks are nearly the same
    assert first in group.examples
    assert str(same) in group.remedy.split()
    (pair,) = (r for r in found.contradictions if other in r.examples)
    assert set(pair.labels) == {"brick", "my coins"}
    assert pair.remedy == f"edge relabel brick {other}"


def test_a_burst_of_one_session_is_no_repetition_but_too_little(learner: Learner, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "burst", {"coins": 1}) / "coins"
    with Image.open(folder / "coins_000.png") as image:
        for frame in range(6):
            image.putpixel((0, 0), (frame, frame, frame))
            image.save(folder / f"frame_{frame}.png")
    learner.teach("coins", [folder], session="one burst")
    found = learner.audit()
    assert found.repeated == ()
    (thin,) = found.thin
    assert (thin.label, thin.examples, thin.independent) == ("coins", 7, 1)
    assert thin.remedy == "edge teach coins PICTURES"


def test_nothing_taught_is_nothing_to_audit(learner: Learner) -> None:
    with refused("too-few-examples", NotEnough, "edge teach"):
        learner.audit()


def test_what_is_held_out_is_not_audited(learner: Learner, pictures: Path) -> None:
    teach_all(learner, pictures)
    learner.relabel([str(pictures / "brick" / "brick_203.png")], "coins")
    held = write_pictures(pictures.parent / "more", {"brick": 3}, first=800) / "brick"
    learner.teach("coins", [held], held_out=True)
    found = learner.audit()
    assert found.examples == 48
    assert {e.id for e in learner.store.examples(held_out=True)}.isdisjoint(s.example for s in found.suspects)


def test_only_untaught_pictures_that_it_is_unsure_of_are_proposed(
    learner: Learner, pictures: Path, tmp_path: Path
) -> None:
    teach_all(learner, pictures)
    fresh = write_pictures(tmp_path / "fresh", dict.fromkeys(COLOURS, 4), first=900)
    (fresh / "broken.jpg").write_bytes(b"no picture")
    found = learner.audit([fresh, pictures])
    assert all(u.image.startswith(str(fresh)) and (u.unknown or u.top[0].probability < 0.9) for u in found.unsure)
    gaps = [-1 if u.unknown else u.top[0].probability - u.top[1].probability for u in found.unsure]
    assert gaps == sorted(gaps)
    assert found.review is None
    assert [Path(s.image).name for s in found.unreadable] == ["broken.jpg"]


def test_frames_that_watch_kept_are_proposed_until_they_are_named(learner: Learner, tmp_path: Path) -> None:
    taught = write_pictures(tmp_path / "taught", {"brick": 12, "grass": 12}, first=200)
    for label in ("brick", "grass"):
        learner.teach(label, [taught / label])
    learner.retrain()
    frames = write_pictures(tmp_path / "in", {"coins": 4}, first=900)
    kept = tmp_path / "not sure"
    kept.mkdir()
    for path in (frames / "coins").iterdir():
        path.replace(kept / f"uncertain-{path.name}")
    (kept / "mine.txt").write_text("no picture")
    assert learner.audit().unsure == ()

    learner.put_uncertain(kept)
    found = learner.audit()
    shown = [u.image for u in found.unsure]
    assert 0 < len(shown) <= 4
    assert {Path(image).parent for image in shown} == {kept}
    assert (found.review, found.unreadable) == (f"edge review '{kept}'", ())
    assert any(str(found.review) in line for line in audited(found))
    command, _, file = shlex.split(found.unsure[0].remedy)[1:]
    assert command == "teach"
    learner.teach("coins", [Path(file)])
    assert file not in [u.image for u in learner.audit().unsure]


def test_unknown_pictures_are_worth_a_label_however_sure_the_head_is() -> None:
    x = np.eye(3, dtype=np.float32)
    sure = np.array([[0.95, 0.05], [0.6, 0.4], [0.99, 0.01]])
    paths = [Path("known"), Path("unsure"), Path("strange")]
    found = least_sure(paths, x, sure, [False, False, True], ("a", "b"))
    assert [u.image for u in found] == ["strange", "unsure"]


def test_the_answer_is_json_and_each_remedy_a_command_of_ours(learner: Learner, pictures: Path) -> None:
    teach_all(learner, pictures)
    learner.relabel(["3", "16"], "tin can")
    answer = json.loads(json.dumps(to_json(learner.audit()), allow_nan=False))
    parts = ("suspects", "contradictions", "repeated", "thin", "advice", "unsure")
    remedies = [item["remedy"] for part in parts for item in answer[part]]
    assert remedies
    assert {tuple(shlex.split(r)[:2]) for r in remedies} <= {("edge", c) for c in ("relabel", "forget", "teach")}


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(
    learner: Learner, pictures: Path, tmp_path: Path
) -> None:
    teach_all(learner, pictures)
    evil = "<script>alert(1)<&script>"
    learner.relabel(["3", "4", "5", "6", "7", "8", "20"], evil)
    page = tmp_path / "page.html"
    assert learner.audit([], page).page == str(page)
    text = page.read_text(encoding="utf-8")
    assert evil not in text
    assert evil in unescape(text)
    assert "<script" not in text
    assert not re.search(r"""(src|href)=["'](?!data:image/jpeg;base64,)|url\(|@import|https?:""", text)
    assert "<svg" in text
    assert "data:image/jpeg;base64," in text


def test_a_picture_that_is_another_one_now_is_not_shown(learner: Learner, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "own", dict.fromkeys(COLOURS, 6), first=300)
    teach_all(learner, folder)
    wrong = learner.find_examples([str(folder / "brick" / "brick_302.png")])
    learner.relabel([str(wrong[0].id)], "coins")
    from edge.audit.findings import thumbnails

    assert list(thumbnails(learner, wrong)) == [wrong[0].id]
    (folder / "brick" / "brick_302.png").write_bytes((folder / "coins" / "coins_300.png").read_bytes())
    assert thumbnails(learner, wrong) == {}


def test_crops_are_kept_only_where_the_home_was_told_to(
    tiny_bundle: Path, pictures: Path, tmp_path: Path, learner: Learner
) -> None:
    from edge.audit.findings import thumbnails

    learner.teach("coins", [pictures / "coins"])
    assert learner.store.crop(1) is None
    copies = write_pictures(tmp_path / "copies", {"coins": 3}, first=400) / "coins"
    with Learner.init(tmp_path / "keeping", tiny_bundle, keep_crops=True) as keeping:
        ids = keeping.teach("coins", [copies]).examples
        for file in copies.iterdir():
            file.unlink()
        kept = thumbnails(keeping, keeping.find_examples([str(i) for i in ids]))
        assert list(kept) == list(ids)
        assert all(data.startswith(b"\xff\xd8") and len(data) <= CROP_BYTES for data in kept.values())
        keeping.forget([str(ids[0])])
        assert keeping.store.crop(ids[0]) is None
        assert kept[ids[0]] not in (tmp_path / "keeping" / "learner.db").read_bytes()
        assert kept[ids[1]][200:300] in (tmp_path / "keeping" / "learner.db").read_bytes()
    with Learner.init(tmp_path / "keeping", tiny_bundle) as again:
        assert again.keeps_crops
    with Learner.init(tmp_path / "keeping", tiny_bundle, keep_crops=False) as told:
        assert not told.keeps_crops
