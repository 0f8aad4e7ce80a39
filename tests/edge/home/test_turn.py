"""Who came first writes first, and nobody waits for the dead."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge.home.lock import turn


def test_who_came_first_goes_first(tmp_path: Path) -> None:
    order: list[int] = []
    waiting: list[threading.Thread] = []

    def wait(number: int) -> None:
        with turn(tmp_path / "lock", 60):
            order.append(number)

    locks = Path("/proc/locks")
    if not locks.exists():
        pytest.skip("this kernel does not tell who waits")
    with turn(tmp_path / "lock", 60):
        node = f":{(tmp_path / 'lock').stat().st_ino} "
        for number in range(8):
            waiting.append(threading.Thread(target=wait, args=(number,)))
            waiting[-1].start()
            while sum("->" in line and node in line for line in locks.read_text().splitlines()) <= number:
                time.sleep(0.01)
    for thread in waiting:
        thread.join()
    assert order == list(range(8))


def test_who_waits_too_long_gives_up_and_is_not_in_the_way(tmp_path: Path) -> None:
    with turn(tmp_path / "lock", 60), pytest.raises(TimeoutError), turn(tmp_path / "lock", 0.05):
        pass
    with turn(tmp_path / "lock", 60):
        pass


def test_a_killed_process_lets_others_pass(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from edge.home.lock import turn\n"
    script += "with turn(Path(sys.argv[1]), 60): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"\n"
    with pytest.raises(TimeoutError), turn(tmp_path / "lock", 0.05):
        pass
    child.kill()
    child.communicate()
    with turn(tmp_path / "lock", 60):
        pass


def test_where_there_is_no_room_for_a_lock_nobody_waits(tmp_path: Path) -> None:
    with turn(tmp_path / "missing" / "lock", 1), turn(tmp_path / "missing" / "lock", 1):
        pass
