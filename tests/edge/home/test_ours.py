"""No command changes, deletes or makes private a file that it did not make, wherever that file lies."""

import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from edge.care.backup import backup, restore
from edge.care.verify import verify
from edge.errors import BundleError, EdgeError, HomeError
from edge.home.database import FILE
from edge.learner import Learner
from edge.network.backbone import Backbone
from edge.picture.frame import Frame
from edge.watch.unsure import Uncertain
from tests.edge.conftest import Run, picture, write_bundle, write_pictures
from tests.edge.test_watch import jpeg, seen
from tests.refused import refused

Told = dict[str, tuple[bytes | None, int, float]]

# what a careless pattern would take for one of ours
NAMES = (
    "mine.edge",
    "0123456789abcdef.edge",
    ".0123456789abcdef.edge.999999999.partial",
    ".movie.mkv.999999999.partial",
    "learner.db.old",
    "learner.txt",
    "watched-birds.jsonl",
    "watched-.lock",
    "uncertain-cat.jpg",
    "uncertain-20261124T160000.000000 (1).jpg",
    "notes.txt",
    ".home.999999999.partial",
    ".home.backup.999999999.partial",
    "labelled",
)


def put_strangers(folder: Path) -> Told:
    """Fill a folder with files and folders of somebody else's; return what they are like."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(f"somebody's {number}\n".encode() * 500)
        (folder / name).chmod(0o644)
    (folder / ".restored.999999999.partial").mkdir()
    (folder / ".restored.999999999.partial" / "letters.txt").write_text("dear diary")
    return look(folder)


def look(folder: Path) -> Told:
    found: Told = {"": (None, stat.S_IMODE(folder.stat().st_mode), 0)}
    for path in sorted(folder.rglob("*")):
        about = path.stat()
        data = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (data, stat.S_IMODE(about.st_mode), about.st_mtime if data else 0)
    return found


def untouched(before: Told, folder: Path) -> None:
    after = look(folder)
    assert {name: after.get(name) for name in before} == before


@pytest.fixture
def coins(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", {"coins": 4}, first=300) / "coins"


@pytest.fixture
def other_bundle(tmp_path: Path, network: Backbone) -> Path:
    return write_bundle(tmp_path / "other.edge", write_pictures(tmp_path / "photos", {"brick": 3, "grass": 3}), network)


def test_a_home_in_a_folder_of_other_things_leaves_them_alone(
    run: Run, tmp_path: Path, tiny_bundle: Path, other_bundle: Path, coins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copy(tiny_bundle, folder / "tiny.edge")
    shutil.copy(other_bundle, folder / "other.edge")
    before = put_strangers(folder)
    for command in (
        ("init", "tiny.edge"),
        ("init", "other.edge"),
        ("init", "tiny.edge", "--runtime", "onnx", "--precision", "int8"),  # refused
        ("init", "tiny.edge"),
        ("teach", "coins", coins),
        ("retrain",),
        ("forget", "1"),
        ("rename", "coins", "brick", "--merge"),
        ("verify",),
        ("backup", "home.zip"),
        ("status",),
    ):
        code, _, err = run("--home", ".", *command)
        assert "Traceback" not in err
        assert code == 0 or "int8" in command or "onnx" in command, err
        untouched(before, folder)
    ours = set(look(folder)) - set(before)
    assert {name for name in ours if name.endswith(".edge")} == {name for name in ours if len(name) == 21}
    assert sum(name.endswith(".edge") for name in ours) == 1, "of ours, the one that serves"
    for name in ours:
        assert stat.S_IMODE((folder / name).stat().st_mode) & 0o077 == 0, name


def test_a_bundle_of_somebody_elses_that_has_our_name_is_used_or_in_the_way_but_never_touched(
    tmp_path: Path, tiny_bundle: Path, other_bundle: Path
) -> None:
    Learner.init(tmp_path / "first", tiny_bundle).close()
    (ours,) = (tmp_path / "first").glob("*.edge")
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(tiny_bundle, home / ours.name)
    before = look(home)
    for bundle in (tiny_bundle, other_bundle, tiny_bundle):
        Learner.init(home, bundle).close()
        untouched(before, home)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / ours.name).write_text("something else")
    before = look(tmp_path / "second")
    with refused("home-foreign", HomeError):
        Learner.init(tmp_path / "second", tiny_bundle)
    untouched(before, tmp_path / "second")


def test_a_bundle_that_could_not_be_adopted_leaves_no_copy(
    tmp_path: Path, tiny_bundle: Path, other_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Learner.init(tmp_path / "home", tiny_bundle).close()
    before = {path.name for path in (tmp_path / "home").glob("*.edge")}

    def fails(*_: object, **__: object) -> None:
        raise HomeError("home-unwritable", "no")

    monkeypatch.setattr("edge.learning.init.refit", fails)
    with refused("home-unwritable", HomeError):
        Learner.init(tmp_path / "home", other_bundle)
    assert {path.name for path in (tmp_path / "home").glob("*.edge")} == before


@pytest.mark.parametrize("version", [0, 1, 5])
def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, tiny_bundle: Path, version: int
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    other = sqlite3.connect(home / FILE)
    other.executescript(f"CREATE TABLE pupils(name TEXT); PRAGMA user_version = {version}")
    other.close()
    (home / FILE).chmod(0o644)
    before = look(home)
    for command in (lambda: Learner.init(home, tiny_bundle), lambda: Learner(home)):
        with refused("home-foreign", HomeError, "another program"):
            command()
    untouched(before, home)


def test_a_backup_and_a_page_are_written_over_their_own_kind_alone(
    run: Run, tmp_path: Path, tiny_bundle: Path, coins: Path
) -> None:
    run("init", tiny_bundle)
    run("teach", "coins", coins)
    (tmp_path / "bundle.edge").write_bytes(tiny_bundle.read_bytes())
    (tmp_path / "letter.html").write_text("<html><title>Dear</title>")
    (tmp_path / "photo.jpg").write_bytes((coins / "coins_300.png").read_bytes())
    before = {name: (tmp_path / name).read_bytes() for name in ("bundle.edge", "letter.html", "photo.jpg")}
    for command in (["backup"], ["audit", "--html"]):
        for name, data in before.items():
            code, out, err = run(*command, tmp_path / name)
            assert (code, out, err.count("\n")) == (1, "", 1), (command, name)
            assert (tmp_path / name).read_bytes() == data
        for _ in range(2):
            assert run(*command, tmp_path / f"{command[0]}.out")[0] == 0, "again over its own"
        (tmp_path / "empty").touch()
        assert run(*command, tmp_path / "empty")[0] == 0, "as mktemp makes it"
        (tmp_path / "empty").unlink()


def test_a_restore_leaves_what_lies_beside_it(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = tmp_path / "shelf"
    before = put_strangers(folder)
    with Learner.init(tmp_path / "saved", tiny_bundle) as learner:
        backup(learner, folder / "restored.backup")
    (folder / ".restored.backup.999999999.partial").write_bytes(b"of a killed backup")
    before = look(folder)
    restore(folder / "restored.backup", folder / "restored")
    untouched(before, folder)
    assert verify(folder / "restored").findings[0].ok


def test_a_restore_clears_what_a_killed_one_left(tmp_path: Path, tiny_bundle: Path) -> None:
    with Learner.init(tmp_path / "saved", tiny_bundle) as learner:
        backup(learner, tmp_path / "b")
    left = tmp_path / ".again.999999999.partial"
    left.mkdir()
    (left / FILE).touch()
    (left / "0123456789abcdef.edge").touch()
    restore(tmp_path / "b", tmp_path / "again")
    assert not left.exists()


def test_a_folder_that_was_there_keeps_its_permissions_and_one_that_we_made_is_closed(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    for name, mode in (("theirs", 0o755), ("shared", 0o2770)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
        with Learner.init(tmp_path / name, tiny_bundle) as learner:
            backup(learner, tmp_path / "b")
        Learner(tmp_path / name).close()
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
        (tmp_path / f"{name} again").mkdir()
        (tmp_path / f"{name} again").chmod(mode)
        restore(tmp_path / "b", tmp_path / f"{name} again")
        Learner(tmp_path / f"{name} again").close()
        assert stat.S_IMODE((tmp_path / f"{name} again").stat().st_mode) == mode
        restore(tmp_path / "b", tmp_path / f"{name} anew")
        assert stat.S_IMODE((tmp_path / f"{name} anew").stat().st_mode) == 0o700
        for home in (name, f"{name} again", f"{name} anew"):
            assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (tmp_path / home).iterdir()} == {0}


# frames ---------------------------------------------------------------------------------------------------------------


def test_the_budget_of_frames_counts_and_deletes_its_own_alone(tmp_path: Path) -> None:
    before = put_strangers(tmp_path / "unsure")
    keep = Uncertain(tmp_path / "unsure", 15_000, 0.7, None)
    for number in range(12):
        frame = Frame(str(number), jpeg(picture("brick", number, side=64)), 1000.0 + number)
        assert keep.save(frame, seen("brick", 0.5)) is not None
    untouched(before, tmp_path / "unsure")
    mine = list((tmp_path / "unsure").glob("uncertain-1970*"))
    assert 1 < len(mine) < 12


def test_a_frame_larger_than_the_budget_takes_no_other_with_it_and_is_told_once(tmp_path: Path) -> None:
    keep = Uncertain(tmp_path, 15_000, 0.7, None)
    small = keep.save(Frame("a", jpeg(picture("brick", 1, side=64)), 1000.0), seen("brick", 0.5))
    assert small is not None
    for number, label in enumerate(("grass", "coins", "gravel")):
        frame = Frame(label, jpeg(picture(label, 7, side=400)), 2000.0 + number)
        assert len(frame.data) > 15_000
        if number:
            assert keep.save(frame, seen("brick", 0.5)) is None
        else:
            with refused("frame-over-budget", EdgeError) as told:
                keep.save(frame, seen("brick", 0.5))
            assert "budget" in str(told.value)
    assert keep.too_large == 3
    assert list(tmp_path.iterdir()) == [small]


def test_a_frame_that_cannot_be_kept_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Uncertain(tmp_path, 8_000, 0.7, None)
    kept = keep.save(Frame("a", jpeg(picture("brick", 1, side=64)), 1000.0), seen("brick", 0.5))
    assert kept is not None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            keep.save(Frame("b", jpeg(picture("grass", 2, side=64)), 2000.0), seen("brick", 0.5))
    assert list(tmp_path.iterdir()) == [kept]


def test_a_clock_that_was_set_back_does_not_cost_the_new_frame(tmp_path: Path) -> None:
    keep = Uncertain(tmp_path, 5_000, 0.7, None)
    keep.save(Frame("a", jpeg(picture("brick", 1, side=64)), 9000.0), seen("brick", 0.5))
    new = keep.save(Frame("b", jpeg(picture("grass", 2, side=64)), 1000.0), seen("brick", 0.5))
    assert list(tmp_path.iterdir()) == [new]


# the one place where files are replaced -------------------------------------------------------------------------------


def test_what_is_half_written_never_has_the_name_of_another_file(tmp_path: Path) -> None:
    from edge.files import replacing

    theirs = tmp_path / f".out.{os.getpid()}.partial"
    theirs.write_text("theirs")
    with replacing(tmp_path / "out") as partial:
        partial.write_text("ours")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {theirs.name: "theirs", "out": "ours"}


def test_doctor_leaves_a_file_that_has_the_name_of_its_own(tmp_path: Path) -> None:
    from edge.care.machine import examine

    theirs = tmp_path / f".doctor.{os.getpid()}.partial"
    theirs.write_text("theirs")
    assert any(finding.check == "sync" and finding.ok for finding in examine(tmp_path))
    assert theirs.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [theirs]


def test_no_command_writes_where_a_folder_or_nothing_is(run: Run, tmp_path: Path, tiny_bundle: Path) -> None:
    run("init", tiny_bundle)
    for place in (tmp_path, tmp_path / "nowhere" / "x"):
        assert run("backup", place)[0] == 1
    with refused("output-unwritable", BundleError), Learner(tmp_path / "home") as learner:
        backup(learner, tmp_path)
