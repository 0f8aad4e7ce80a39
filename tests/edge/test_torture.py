"""A little of `make torture`, and that it would notice what it looks for."""

import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from benchmarks.torture import crowd, faults, kills, operations, replay, shim, state
from benchmarks.torture.device import Device
from benchmarks.torture.replay import Disk, Kind
from benchmarks.torture.row import Row
from edge.home.database import FILE
from edge.network.backbone import RUNTIMES

pytestmark = [
    pytest.mark.kills,
    pytest.mark.skipif(not any(r.installed for r in RUNTIMES), reason="no runtime is installed"),
]
needs_cc = pytest.mark.skipif(shim.compiler() is None, reason="there is no C compiler (cc)")


def quiet(line: str) -> None:
    pass


def apart(run: Callable[..., list[Row]], *arguments: object) -> Row:
    """Run what forks in a new process: a fork of this one, which may hold a network, could wait for its threads."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        (row,) = pool.submit(run, print, *arguments).result()
    return row


@needs_cc
def test_no_command_loses_anything_wherever_it_is_harmed() -> None:
    rows = faults.run(quiet, 120, ("teach", "retrain", "init", "forget"))
    assert len(rows) == 10
    assert sum(row.tried for row in rows) > 20
    assert [line for row in rows for line in row.wrong] == []


@needs_cc
def test_a_fleet_loses_nothing_either() -> None:
    pytest.importorskip("obstore")
    rows = faults.run(quiet, 80, ("contribute", "follow", "fleet merge"))
    assert sum(row.tried for row in rows) > 10
    assert [line for row in rows for line in row.wrong] == []


@needs_cc
def test_every_command_of_the_torture_leads_somewhere_unharmed() -> None:
    pytest.importorskip("obstore")
    assert sum(row.tried for row in faults.run(quiet, 1_000_000)) == 0


def test_no_kill_loses_anything() -> None:
    row = apart(kills.run, 15)
    assert row.tried >= 15
    assert row.wrong == ()


def test_a_crowd_loses_nothing() -> None:
    row = apart(crowd.run, 2.0)
    assert row.tried >= 11
    assert row.wrong == ()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `start`, a home, and `log`, what teaching it in two steps writes; made under the shim."""
    folder = tmp_path_factory.mktemp("recorded")
    shim.preloaded(folder, "tests.edge.recorder", str(folder))
    return folder


def cut(recorded: Path, folder: Path, point: int, synced: bool, chance: int) -> int:
    """Write what a power cut after an entry may leave; returns how many steps were acknowledged before it."""
    disk = Disk(recorded / "start")
    log = replay.read_log(recorded / "log")[: point + 1]
    for entry in log:
        disk.apply(entry, synced)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    faults.write_cut(disk, folder, chance, point)
    return sum(entry.kind is Kind.MARK for entry in log)


@needs_cc
@pytest.mark.parametrize("synced", [True, False])
def test_a_version_that_does_not_sync_is_found_out(recorded: Path, tmp_path: Path, synced: bool) -> None:
    marks = [i for i, entry in enumerate(replay.read_log(recorded / "log")) if entry.kind is Kind.MARK]
    assert len(marks) == 2
    missing = 0
    for point in marks:
        for chance in range(-1, 4):
            steps = cut(recorded, tmp_path / "cut", point, synced, chance)
            try:
                state.of(tmp_path / "cut" / "home")
                missing += len(state.images(tmp_path / "cut" / "home")) < 7 + (3, 5)[steps - 1]
            except state.Damaged:
                missing += 1
    assert (missing == 0) == synced


@needs_cc
def test_a_log_replayed_whole_gives_the_files_that_were_written(recorded: Path, tmp_path: Path) -> None:
    cut(recorded, tmp_path / "cut", len(replay.read_log(recorded / "log")), True, -2)
    for path in (recorded / "work" / "home").iterdir():
        assert (tmp_path / "cut" / "home" / path.name).read_bytes() == path.read_bytes()


@needs_cc
def test_the_shim_sees_the_writes_of_sqlite(recorded: Path) -> None:
    log = replay.read_log(recorded / "log")
    opened = {entry.file: entry.first for entry in log if entry.kind in (Kind.OPEN, Kind.CREATE)}
    assert f"home/{FILE}" in opened.values()
    assert any(entry.kind is Kind.WRITE and entry.first == "" and entry.length > 4000 for entry in log)
    assert any(entry.kind is Kind.SYNC for entry in log)


def test_damage_is_seen(tmp_path: Path, tiny_bundle: Path) -> None:
    device = Device(tiny_bundle, tiny_bundle)
    operations.OPERATIONS[0].before(tmp_path, device)
    whole = state.of(tmp_path / "home")
    data = bytearray((tmp_path / "home" / FILE).read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "home" / FILE).write_bytes(data)
    with pytest.raises(state.Damaged):
        state.of(tmp_path / "home")
    assert whole != state.NONE


def test_the_table_is_printed_and_fails_if_anything_is_lost() -> None:
    script = (
        "import sys; from benchmarks.torture import __main__ as m, row, kills\n"
        "kills.run = lambda say: [row.Row('kill -9', 1000, 600, 400, ('a was acknowledged and is gone',), 'x')]\n"
        "sys.argv = ['torture', 'kills']; m.main()"
    )
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert child.returncode == 1
    assert "kill -9  1,000        600        400     1" in child.stdout
    assert "LOST kill -9: a was acknowledged and is gone" in child.stdout
