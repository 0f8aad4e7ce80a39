"""The power of an emulated Raspberry Pi of 512 MB is cut while it teaches, retrains, rolls back, forgets and upgrades.

The emulator is killed, so that all which the kernel had not given to the disk yet is gone. After each cut the machine
boots, and the home must open and be whole; every example that the console acknowledged must be there and each change
under way be done or not begun. Then the same again with a program that never waits for the disk: unless that one loses
something, this test proves nothing. What a disk with a write cache of its own loses in addition is not tried.

Source: Mender's and SQLite's crash tests, in spirit; `powercut_inside` is what runs in the machine.
"""

import json
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.torture.device import make
from benchmarks.torture.row import Row, Say
from tests.arm.emulator import BOOKWORM, ROOT, Machine, why_not
from tests.arm.emulator import run as run_on

CUTS, UNSYNCED = 32, 3
WORK = 2, 12  # changes acknowledged before a cut: at least, at most
SYSTEM = BOOKWORM[1]  # tflite-runtime: the quickest to start
INSIDE = "cd /opt/checkout; OPENBLAS_NUM_THREADS=1 python -m benchmarks.torture.powercut_inside"
PATIENCE = 300.0  # seconds for a boot, on a busy machine


@dataclass
class Known:
    """What the console acknowledged, and what it said was begun and not done."""

    numbers: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)  # those of them that were there after the last boot
    generations: set[int] = field(default_factory=set)
    serving: int = 0
    next: int = 0  # the first picture that was never shown
    teaching: list[int] = field(default_factory=list)  # under way: these pictures
    changing: list[str] = field(default_factory=list)  # under way: this change, and what of

    def listen(self, line: str) -> None:
        """Take up one line of the console."""
        word, *rest = line.split()
        if word == "begin" and rest[0] == "teach":
            first, count = map(int, rest[1:])
            self.teaching, self.next = list(range(first, first + count)), first + count
        elif word == "done" and rest[0] == "teach":
            self.numbers |= set(self.teaching)
            self.teaching = []
        elif word == "begin":
            self.changing = rest
        elif word == "done":
            if rest[0] == "forget":
                self.numbers -= {int(self.changing[1])}
            self.generations.add(int(rest[1]))
            self.serving, self.changing = int(rest[2]), []

    def judge(self, state: dict[str, Any], tally: "Tally") -> bool:
        """Compare with what a home says after a cut, and know from then on what it says; False: it is damaged."""
        held, generations, serving = _expand(state["numbers"]), _expand(state["generations"]), state["serving"]
        found = list(state["wrong"])
        doomed = {int(self.changing[1])} if self.changing[:1] == ["forget"] else set()
        gone = self.numbers - held - doomed
        if gone:
            found.append(f"{len(gone)} of {len(self.numbers)} acknowledged examples are gone")
        if held - self.numbers - set(self.teaching):
            found.append("examples are back that were forgotten")
        if self.teaching:
            kept = len(held & set(self.teaching))
            tally.note(kept == 0, kept == len(self.teaching), f"{kept} of {len(self.teaching)} taught at once", found)
        if self.generations - generations:
            found.append(f"acknowledged generations {sorted(self.generations - generations)} are gone")
        made = generations - self.generations
        may_serve = {self.serving, *made}
        if self.changing:
            kind, *what = self.changing
            if kind == "rollback":
                may_serve.add(int(what[0]))
                tally.note(serving == self.serving, serving == int(what[0]), f"generation {serving} serves", found)
            else:
                forgot = kind != "forget" or not doomed & held
                kept_all = kind != "forget" or bool(doomed & held)
                tally.note(not made and kept_all, len(made) == 1 and forgot, f"{kind} half done", found)
        elif made:
            found.append(f"generations {sorted(made)} came from nowhere")
        if serving not in may_serve:
            found.append(f"generation {serving} serves, not {self.serving}")
        tally.acknowledged += len(self.numbers - self.seen)
        tally.wrong += [f"cut {tally.cuts}: {line}" for line in found]
        self.numbers, self.seen, self.generations, self.serving = set(held), held, generations, serving
        self.teaching, self.changing = [], []
        return not state["wrong"]


@dataclass
class Tally:
    """What the cuts came to: changes under way that were found not begun, or done; and what was wrong."""

    cuts: int = 0
    old: int = 0
    new: int = 0
    acknowledged: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, old: bool, new: bool, half: str, found: list[str]) -> None:
        """Count a change that was under way."""
        self.old += old
        self.new += new and not old
        if not old and not new:
            found.append(half)


def run(say: Say, cuts: int = CUTS, unsynced: int = UNSYNCED) -> list[Row]:
    """Cut the power so often; then so often that of the program that does not wait for the disk."""
    reason = why_not()
    if reason:
        say(f"power cuts: skipped: {reason}")
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make(folder)
        run_on(SYSTEM, ["python", "-c", "import numpy, PIL.Image, click, edge.learner, tflite_runtime.interpreter"])
        machine = Machine(folder / "disk.img", SYSTEM)
        machine.put([ROOT / "edge", ROOT / "benchmarks", ROOT / "tests", made.bundle, made.newer], "/opt/checkout")
        first = machine.run(f"{INSIDE} prepare")
        if "prepared" not in first.stdout:
            return [Row("power cuts", 0, wrong=(f"the machine did not start: {first.stdout}{first.stderr}",))]
        careless = machine.copy(folder / "unsynced.img")
        synced = _cut(machine, cuts, "", say)
        proof = _cut(careless, unsynced, "unsynced", say)
    lost = len(proof.wrong)
    cannot_fail = () if lost else ("a program that never waits for the disk lost nothing: this test proves nothing",)
    note = f"{synced.acknowledged:,} examples acknowledged"
    also = f"as it must: {proof.wrong[0]}" if lost else ""
    return [
        Row("power cuts of a Pi of 512 MB", synced.cuts, synced.old, synced.new, tuple(synced.wrong), note),
        Row("the same, never waiting for the disk", proof.cuts, wrong=cannot_fail, note=f"lost {lost} times, {also}"),
    ]


def _cut(machine: Machine, cuts: int, how: str, say: Say) -> Tally:
    """Boot, check, work, cut; and so on; at the last boot check alone."""
    tally, known, chance = Tally(), Known(generations={1}, serving=1), random.Random(8)
    for number in range(cuts + 1):
        last = number == cuts
        command = f"{INSIDE} check" if last else f"{INSIDE} work {known.next} {number} {how}"
        console = Console(machine.disk.with_suffix(".log"))
        with machine.running(command, console.log) as emulator:
            state = next((line for line in console.follow(emulator) if line.startswith("state ")), None)
            if state is None:
                tally.wrong.append(f"after cut {number} it did not start: {console.text()[-500:]}")
                return tally
            tally.cuts = number
            whole = known.judge(json.loads(state.removeprefix("state ")), tally)
            say(f"{how or 'synced'} cut {number} of {cuts}: {len(known.numbers)} examples, {len(tally.wrong)} wrong")
            if last or not whole:
                return tally
            wait, done = chance.randint(*WORK), 0
            for line in console.follow(emulator):
                known.listen(line)
                done += line.startswith("done")
                if done == wait:
                    break
            else:
                tally.wrong.append(f"before cut {number + 1} it stopped working: {console.text()[-500:]}")
                return tally
            time.sleep(0.5 * chance.random())
        for line in console.follow(emulator):  # what it said until the power went
            known.listen(line)
    return tally


class Console:
    """The console's log, read as it grows."""

    def __init__(self, log: Path) -> None:
        self.log, self._read = log, 0

    def follow(self, emulator: "subprocess.Popen[bytes]") -> Iterator[str]:
        """Yield whole lines that were not yielded before, until the emulator has ended or nothing comes any more."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            ended = emulator.poll() is not None
            text = self.text()
            while (end := text.find("\n", self._read)) >= 0:
                line, self._read = text[self._read : end].strip(), end + 1
                until = time.monotonic() + PATIENCE
                yield line
            if ended:
                return
            time.sleep(0.02)

    def text(self) -> str:
        """All that it holds."""
        return self.log.read_text("latin-1") if self.log.exists() else ""


def _expand(ranges: list[list[int]]) -> set[int]:
    return {number for first, end in ranges for number in range(first, end)}
