"""Every command that writes, harmed at each of its writes, syncs, truncates, renames and unlinks in turn.

For each command the shim counts what it does below its folder. Then, from the same start, it is run again for each of
these points: killed there, killed in the middle of the write, failed once (EIO), failed from there on (a full disk that
takes half a write, a disk that turns read-only), interrupted (SIGINT, SIGTERM), and failed at each read. Power cuts are
replayed from the log: after each point with all, none or a part of what was not synced, torn sectors included.

Afterwards the home must open, be whole (`edge verify`), be in the state before or in the one after the step at work,
hold everything that was acknowledged, and the command, repeated, must lead where it always leads.
"""

import errno
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.torture import device, operations, replay
from benchmarks.torture.device import Device
from benchmarks.torture.operations import Operation
from benchmarks.torture.replay import Disk, Kind
from benchmarks.torture.row import Row, Say
from benchmarks.torture.shim import Mode, Shim, compiler, preloaded
from benchmarks.torture.state import Damaged

CHANCES = 4  # power cuts at each point with a part, by chance, of what was not synced
LONGEST = 60  # seconds after which a command hangs
TRACEBACK = 99  # exit code of a child that ended otherwise than a command may


@dataclass(frozen=True)
class Harm:
    """One kind of harm, for the table."""

    name: str
    mode: Mode
    error: int = 0
    for_good: bool = False


HARMS = (
    Harm("killed", Mode.KILL),
    Harm("killed in the middle of a write", Mode.TEAR),
    Harm("a full disk (ENOSPC)", Mode.SHORT, errno.ENOSPC, True),
    Harm("an I/O error, once (EIO)", Mode.FAIL, errno.EIO),
    Harm("I/O errors from there on", Mode.FAIL, errno.EIO, True),
    Harm("the disk turns read-only (EROFS)", Mode.FAIL, errno.EROFS, True),
    Harm("a read fails (EIO)", Mode.READ, errno.EIO),
    Harm("Ctrl-C (SIGINT)", Mode.SIGNAL, signal.SIGINT),
    Harm("stopped (SIGTERM)", Mode.SIGNAL, signal.SIGTERM),
)
POWER = "power cut, replayed"


def run(say: Say, every: int = 1, names: Sequence[str] = ()) -> list[Row]:
    """Harm every command, or those named, at every point, or at one of `every` (another one each time)."""
    if compiler() is None:
        say("faults: skipped, there is no C compiler (cc)")
        return []
    workers = os.cpu_count() or 1

    def work(number: int) -> list[Row]:
        with tempfile.TemporaryDirectory(dir=_memory()) as name:
            numbers = (str(n) for n in (every, number, workers))
            done = preloaded(Path(name), "benchmarks.torture.faults", name, *numbers, *names)
        return [Row(**{**row, "wrong": tuple(row["wrong"])}) for row in json.loads(done.stdout)]

    with ThreadPoolExecutor(workers) as pool:
        return [_sum(rows) for rows in zip(*pool.map(work, range(workers)), strict=True)]


def _sum(rows: Sequence[Row]) -> Row:
    """Add up what several processes did of one kind of harm."""
    old, new = (sum(getattr(row, state) for row in rows) for state in ("old", "new"))
    return Row(rows[0].what, sum(r.tried for r in rows), old, new, tuple(line for r in rows for line in r.wrong))


def _memory() -> str | None:
    """A folder in memory where there is one: nothing here depends on a real disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass
class Count:
    """What came of one kind of harm."""

    tried: int = 0
    old: int = 0
    new: int = 0
    wrong: tuple[str, ...] = ()

    def add(self, outcome: str) -> None:
        """Count one try: "old", "new", or what was wrong."""
        self.tried += 1
        self.old += outcome == "old"
        self.new += outcome == "new"
        if outcome not in ("old", "new"):
            self.wrong += (outcome,)


class Bench:
    """The process that forks the children that are harmed. It runs under the shim."""

    def __init__(self, folder: Path, every: int) -> None:
        self._shim = Shim()
        self._folder = folder
        self._every = every
        self._turn = 0  # which of `every` points is next
        self._log, self._work = folder / "log", folder / "work"
        self.counts = {name: Count() for name in [*(harm.name for harm in HARMS), POWER]}
        self._device: Device

    def prepare(self) -> None:
        """Make the device, apart, so that no thread of a runtime lives here."""
        self._in_child(lambda: device.make(self._folder))
        self._device = Device(self._folder / "tiny.edge", self._folder / "newer.edge")
        device.warm()
        gc.freeze()  # children share more of this process's memory, and are forked faster

    def torture(self, operation: Operation) -> None:
        """Do all harm to one command."""
        start = self._folder / "start"
        shutil.rmtree(start, ignore_errors=True)
        start.mkdir()
        self._in_child(lambda: operation.before(start, self._device))
        states = self._states(operation, start)
        changes, reads = self._attempt(operation, start, Harm("", Mode.NOTHING), 0, log=True)[2:]
        if self._look(operation) != states[-1]:
            raise RuntimeError(f"{operation.name} leads elsewhere each time")
        for harm in HARMS:
            for point in self._some(reads if harm.mode is Mode.READ else changes):
                self._harm(operation, start, states, harm, point)
        self._cut_power(operation, start, states)

    def _states(self, operation: Operation, start: Path) -> list[str]:
        """The states before, between and after the steps."""
        self._fresh(start)
        states = [self._look(operation)]
        for step in operation.steps:
            self._in_child(lambda step=step: step(self._work, self._device))  # type: ignore[misc]
            states.append(self._look(operation))
        return states

    def _harm(self, operation: Operation, start: Path, states: list[str], harm: Harm, point: int) -> None:
        acknowledged, problem, _, _ = self._attempt(operation, start, harm, point)
        where = f"{operation.name}, {harm.name}, point {point}"
        self._judge(self.counts[harm.name], operation, states, acknowledged, where, problem)

    def _cut_power(self, operation: Operation, start: Path, states: list[str]) -> None:
        log = replay.read_log(self._log)
        disk, acknowledged, seen = Disk(start), 0, dict[tuple[str, int], str]()
        points = set(self._some(len(log)))
        for point, entry in enumerate(log):
            disk.apply(entry)
            acknowledged += entry.kind is Kind.MARK
            if point not in points or entry.kind in (Kind.OPEN, Kind.CLOSE):
                continue
            for chance in range(-2, CHANCES):
                shutil.rmtree(self._work, ignore_errors=True)
                self._work.mkdir()
                write_cut(disk, self._work, chance, point)
                print_of = (_fingerprint(self._work), acknowledged)
                if print_of in seen:  # the same files once more
                    self.counts[POWER].add(seen[print_of])
                    continue
                where = f"{operation.name}, {POWER}, after {point} ({entry.kind.name.lower()}), {chance}"
                seen[print_of] = self._judge(self.counts[POWER], operation, states, acknowledged, where, "")

    def _judge(
        self, count: Count, operation: Operation, states: list[str], acknowledged: int, where: str, problem: str
    ) -> str:
        """Look at what is left in the work folder and count it; returns the `Count` that it went to."""
        wrong, outcome = problem, ""
        try:
            after = states.index(self._look(operation))
            outcome = "old" if after == acknowledged < len(states) - 1 else "new"
            if not acknowledged <= after <= acknowledged + 1:
                wrong = wrong or f"{acknowledged} steps were acknowledged, but the state is that after {after}"
            if not wrong and after + 1 < len(states):
                for step in operation.steps[after:]:
                    self._in_child(lambda step=step: step(self._work, self._device))  # type: ignore[misc]
                if self._look(operation) != states[-1]:
                    wrong = "repeated, it leads elsewhere"
        except Damaged as error:
            wrong = wrong or f"damaged: {error}"
        except ValueError:
            wrong = wrong or "neither the old state nor the new"
        except RuntimeError as error:
            wrong = wrong or f"cannot be repeated: {error}"
        outcome = f"{where}: {wrong}" if wrong else outcome
        count.add(outcome)
        return outcome

    def _attempt(
        self, operation: Operation, start: Path, harm: Harm, point: int, log: bool = False
    ) -> tuple[int, str, int, int]:
        """Run a command in a child; returns steps acknowledged, what was improper, and its changes and reads."""
        self._fresh(start)

        def work(tell: int) -> int:
            signal.alarm(LONGEST)
            try:
                self._shim.arm(self._work, harm.mode, point, harm.error, harm.for_good, self._log if log else None)
                for number, step in enumerate(operation.steps):
                    step(self._work, self._device)
                    self._shim.mark(number)
                    os.write(tell, b"+")
                os.write(tell, f"{self._shim.changes} {self._shim.reads}".encode())
                return 0
            except OSError as error:  # EdgeErrors of a home are such too
                os.write(tell, str(error).encode()[:500])
                return 1 if "\n" not in str(error) else TRACEBACK
            except (KeyboardInterrupt, ValueError) as error:
                os.write(tell, str(error).encode()[:500])
                return 130 if isinstance(error, KeyboardInterrupt) else _proper(error)
            finally:
                self._shim.disarm()

        said, status = _forked(work)
        acknowledged = len(said) - len(said.lstrip("+"))
        rest = said.lstrip("+")
        problem = ""
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == TRACEBACK:
            problem = f"a traceback: {rest}"
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) not in (signal.SIGKILL, signal.SIGTERM):
            problem = f"died of {signal.Signals(os.WTERMSIG(status)).name}"
        numbers = rest.split() if os.WIFEXITED(status) and not os.WEXITSTATUS(status) else []
        return acknowledged, problem, *(map(int, numbers) if len(numbers) == 2 else (0, 0))

    def _in_child(self, work: Callable[[], object]) -> None:
        """Run something in a child, unharmed.

        Raises:
            RuntimeError: it failed.
        """

        def done(_tell: int) -> int:
            work()
            return 0

        said, status = _forked(done)
        if status:
            raise RuntimeError(said or "it was killed")

    def _fresh(self, start: Path) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(start, self._work)

    def _look(self, operation: Operation) -> str:
        return operation.look(self._work)

    def _some(self, count: int) -> Iterator[int]:
        for point in range(count):
            self._turn += 1
            if self._turn % self._every == 0:
                yield point


def _forked(work: Callable[[int], int]) -> tuple[str, int]:
    """Run something in a child, which may tell by a pipe and returns its exit code; what it told, and its status."""
    listen, tell = os.pipe()
    child = os.fork()
    if not child:
        code = TRACEBACK
        try:
            code = work(tell)
        except BaseException:
            os.write(tell, traceback.format_exc().encode()[-3000:])
        finally:
            os._exit(code)
    os.close(tell)
    with os.fdopen(listen, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    return said, os.waitpid(child, 0)[1]


def write_cut(disk: Disk, folder: Path, chance: int, seed: int) -> None:
    """Write what a power cut may leave: at `chance` -2 all, at -1 nothing that was not synced, else a part of it."""
    if chance == -2:
        disk.write(folder)
    elif chance == -1:
        disk.write(folder, replay.none_of)
    else:
        dice = random.Random(1000 * seed + chance)
        share = dice.random()
        disk.write(folder, lambda changes: [dice.random() < share for _ in changes], dice if chance % 2 else None)


def _proper(error: Exception) -> int:
    """The exit code of an error that a command may end with: one line of ours."""
    from edge.errors import EdgeError

    return 1 if isinstance(error, EdgeError) and "\n" not in str(error) else TRACEBACK


def _fingerprint(folder: Path) -> str:
    """What is in a folder; equal only if all files are."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def main() -> None:
    """Harm everything; print the rows as JSON."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
    folder, (every, number, workers), names = Path(sys.argv[1]), map(int, sys.argv[2:5]), sys.argv[5:]
    chosen = [operation for operation in operations.OPERATIONS if operation.name in names or not names]
    bench = Bench(folder, every)
    bench.prepare()
    start = time.monotonic()
    for operation in chosen[number::workers]:
        bench.torture(operation)
        tried = sum(count.tried for count in bench.counts.values())
        lost = sum(len(count.wrong) for count in bench.counts.values())
        print(
            f"faults: {operation.name}; {tried} so far, {lost} lost, {time.monotonic() - start:.0f} s", file=sys.stderr
        )
    rows = [Row(name, count.tried, count.old, count.new, count.wrong) for name, count in bench.counts.items()]
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()
