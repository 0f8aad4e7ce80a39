"""Hostile input: every reader of what comes from outside, given some 150,000 spoilt inputs.

Each reader works in a process of its own, which tells after each input how far it is: one that dies, or hangs, is known
by its number and begun anew behind it. Wrong is anything but an answer or an `EdgeError`; more than 2 s, if it takes so
long twice more, as others use this machine too; and a process that ever holds more than 300 MB.

A home's database, damaged, is given to every command in turn, from its very entry.

Spoilt networks go the whole way of `edge init`: looked through, then run in a child. There the runtime may die, and
is counted; here nothing may.
"""

import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.torture.device import make
from benchmarks.torture.row import Row, Say
from edge.bundle import archive
from edge.errors import EdgeError
from edge.learner import Learner
from edge.network import sandbox
from edge.network.backbone import RUNTIMES, Runtime
from tests.edge.hostile import Target, entries_of, pack, spoilt_models, targets
from tests.edge.hostile_home import home_targets, teach_home

LONGEST = 2.0  # seconds for one input, or for one command on a damaged home
MOST_MEMORY = 300  # MB of the process
PATIENCE = 30.0  # seconds after which a process that tells nothing hangs
NETWORKS = 150  # spoilt ones a runtime: each is a process

_fork = multiprocessing.get_context("fork")


@dataclass
class Told:
    """What came of a reader's inputs so far."""

    done: int = 0
    answered: int = 0
    longest: float = 0.0  # seconds
    memory: int = 0  # MB
    wrong: list[str] = field(default_factory=list)


def run(say: Say, share: float = 1.0) -> list[Row]:
    """Give each reader its share of spoilt inputs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ProcessPoolExecutor(1, _fork) as pool:  # the runtime's threads stay out of this process
            plain = pool.submit(_plain, folder).result()
        told = _told(say, targets(folder, plain), share)
        homes = _told(say, home_targets(folder / "home", folder), share)
        with ProcessPoolExecutor(2, _fork) as pool:
            count = round(NETWORKS * share)
            rows = [_networks(say, pool, plain, runtime, count) for runtime in RUNTIMES if runtime.installed]
    return [_row(f"spoilt inputs, {len(told)} readers", told), _row("damaged databases, every command", homes), *rows]


def _told(say: Say, readers: list[Target], share: float) -> list[Told]:
    told = []
    for target in readers:
        say(f"fuzz: {target.name}")
        told.append(_watched(target, round(target.share * share)))
    return told


def _row(what: str, told: list[Told]) -> Row:
    note = (
        f"{sum(one.answered for one in told):,} answered, the others refused; worst "
        f"{1000 * max(one.longest for one in told):.0f} ms, {max(one.memory for one in told)} MB"
    )
    wrong = tuple(line for one in told for line in one.wrong)
    return Row(what, sum(one.done for one in told), wrong=wrong, note=note)


def _plain(folder: Path) -> Path:
    """Write a bundle, and a home that was taught."""
    bundle = make(folder).bundle
    teach_home(Learner.init(folder / "home", bundle), folder)
    return bundle


def _watched(target: Target, count: int) -> Told:
    """Let processes read until all is read."""
    told = Told()
    while told.done < count:
        ours, theirs = _fork.Pipe(duplex=False)
        child = _fork.Process(target=_read, args=(target, told.done, count, theirs))
        child.start()
        theirs.close()
        how = ""
        try:
            while told.done < count:
                if not ours.poll(PATIENCE):
                    how = f"hangs for {PATIENCE:.0f} s"
                    break
                seconds, answered, told.memory, wrong = ours.recv()
                told.longest = max(told.longest, seconds)
                told.answered += answered
                told.wrong += [f"{target.name} {told.done}: {wrong}"] if wrong else []
                told.done += 1
        except EOFError:
            how = "kills the process"
        if how:
            told.wrong.append(f"{target.name} {told.done}: {how}")
            told.done += 1
        child.kill()
        child.join()
    return told


def _read(target: Target, first: int, count: int, pipe: Connection) -> None:
    """In a process of its own: tell of each input the seconds, whether it was answered, the memory, what is wrong."""
    warnings.simplefilter("ignore")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is to be ours, not the one of who forked us
    for number in range(first, count):
        data = target.spoilt(number)
        seconds, answered, wrong = _once(target.ask, data)
        for _ in range(2):
            if seconds > LONGEST * target.questions:
                seconds = min(seconds, _once(target.ask, data)[0])
        memory = _peak()
        if not wrong and seconds > LONGEST * target.questions:
            wrong = f"takes {seconds:.1f} s"
        if not wrong and memory > MOST_MEMORY:
            wrong = f"takes {memory} MB"
            Path("/proc/self/clear_refs").write_text("5")
        pipe.send((seconds, answered, memory, wrong))


def _once(ask: Callable[[bytes], None], data: bytes) -> tuple[float, bool, str]:
    answered, wrong = False, ""
    start = time.perf_counter()
    try:
        ask(data)
        answered = True
    except EdgeError:
        pass
    except Exception as error:  # whatever it is, it is what we look for
        wrong = f"{type(error).__name__}: {error}"[:200]
    return time.perf_counter() - start, answered, wrong


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def _networks(say: Say, pool: ProcessPoolExecutor, plain: Path, runtime: Runtime, count: int) -> Row:
    say(f"fuzz: networks on {runtime.name}")
    came = [job.result() for job in [pool.submit(_prove, plain, runtime, number) for number in range(count)]]
    dies, hangs = (sum(word in one for one in came) for word in (" dies of ", " does not answer "))
    wrong = tuple(f"network {n}: {one}" for n, one in enumerate(came) if one.startswith("WRONG"))
    note = (
        f"{sum(not one for one in came)} answered as before; the runtime died of {dies} and hung on {hangs}, "
        "each in its own process"
    )
    return Row(f"spoilt networks, hashes set right, {runtime.name}", count, wrong=wrong, note=note)


def _prove(plain: Path, runtime: Runtime, number: int) -> str:
    """Give the runtime a bundle with a spoilt network, as `edge init` does; returns why it was refused."""
    file = f"backbone.{runtime.format}"
    spoilt = plain.with_name(f"network {runtime.name} {number}.edge")
    try:
        pack(spoilt, {**entries_of(plain), file: spoilt_models(runtime.format).spoilt(number)})
        opened = archive.read(spoilt)
        opened.verify()
        sandbox.prove(runtime, opened, file, seconds=60)
    except EdgeError as error:
        return str(error)
    except Exception as error:
        return f"WRONG {type(error).__name__}: {error}"
    finally:
        spoilt.unlink(missing_ok=True)
    return ""
