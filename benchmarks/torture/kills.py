"""Real processes, killed with SIGKILL at random moments while others work on the same home: at least 1,000 times.

Each worker teaches, retrains, rolls back and forgets as chance has it, and tells before and after each step through a
pipe, which a kill cannot take back. Now and then all are killed at once. After each kill what was acknowledged must be
there and what was forgotten gone; after each fifth, and each of all, the home must be whole.
"""

import hashlib
import os
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.torture import state
from benchmarks.torture.device import LABELS, frame, make, warm
from benchmarks.torture.row import Row, Say
from edge.care.verify import verify
from edge.errors import HomeError
from edge.learner import Learner

WORKERS = 3
ALL = 20  # one kill in so many takes all workers at once
LOOK = 5  # after one kill in so many the whole home is looked at, while the others go on
KEPT = 12  # a worker that has taught more forgets some
PACE = 0.06  # seconds between kills, on average


@dataclass
class Slot:
    """The place of a worker; when it is killed, another takes over what it taught."""

    child: int = 0
    pipe: int = -1
    pictures: set[str] = field(default_factory=set)  # SHA-256 of what was taught here and not forgotten
    gone: set[str] = field(default_factory=set)


def run(say: Say, kills: int = 1000) -> list[Row]:
    """Kill so many times."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        if not os.fork():  # the runtime's threads stay out of this process
            Learner.init(home, make(Path(name)).bundle).close()
            os._exit(0)
        os.wait()
        warm()
        say(f"kills: {kills} times, of {WORKERS} that work on one home")
        return [Killer(home, say).run(kills)]


class Killer:
    """Starts workers, kills them and checks what they leave."""

    def __init__(self, home: Path, say: Say) -> None:
        self._home, self._say = home, say
        self._dice = random.Random(8)
        self._slots = [Slot() for _ in range(WORKERS)]
        self._begun = self._checks = 0  # workers, checks
        self._done: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._old = self._new = 0

    def run(self, kills: int) -> Row:
        """Kill, check, start again."""
        for slot in self._slots:
            self._start(slot)
        killed = 0
        while killed < kills:
            time.sleep(self._dice.expovariate(1 / PACE))
            together = killed % ALL == ALL - 1
            dying = self._slots if together else [self._dice.choice(self._slots)]
            for slot in dying:
                os.kill(slot.child, signal.SIGKILL)
            for slot in dying:
                self._collect(slot)
                killed += 1
            self._check(f"kill {killed}", dying)
            for slot in dying:
                self._start(slot)
            if killed % 200 < len(dying):
                self._say(f"kills: {killed}, {len(self._wrong)} lost {' '.join(self._wrong)[-300:]}")
        for slot in self._slots:
            os.kill(slot.child, signal.SIGKILL)
            self._collect(slot)
        self._check("the end", self._slots)
        note = ", ".join(f"{self._done[word]:,} {word}" for word in ("taught", "retrained", "rolled back", "forgot"))
        inside = self._done["killed inside"]
        return Row(
            "kill -9 at random moments",
            killed,
            self._old,
            self._new,
            tuple(self._wrong),
            f"{inside:,} inside a command; meanwhile {note}",
        )

    def _start(self, slot: Slot) -> None:
        self._begun += 1
        slot.pipe, tell = os.pipe()
        slot.child = os.fork()
        if not slot.child:
            try:
                _work(self._home, tell, self._begun, sorted(slot.pictures))
            except BaseException:
                os.write(tell, ("! " + traceback.format_exc().replace("\n", " | ")[-600:] + "\n").encode())
            os._exit(1)
        os.close(tell)

    def _collect(self, slot: Slot) -> None:
        """Read what a dead worker told: it began a step, or finished it."""
        os.waitpid(slot.child, 0)
        with os.fdopen(slot.pipe) as pipe:
            lines = pipe.read().splitlines()
        begun: list[str] = []
        for line in lines:
            step, *images = line.split()
            if step == "!":
                self._wrong.append(f"a worker ended by itself: {line[2:]}")
            elif step == "begin":
                begun = images
            else:
                begun = []
                self._done[{"teach": "taught", "forget": "forgot"}.get(step, step.replace("-", " "))] += 1
                if step == "teach":
                    slot.pictures.update(images)
                elif step == "forget":
                    slot.pictures.difference_update(images)
                    slot.gone.update(images)
        if begun:
            self._done["killed inside"] += 1
        if begun and begun[0] in ("teach", "forget"):
            there = state.images(self._home)
            image = begun[1]
            happened = (image in there) == (begun[0] == "teach")
            self._new += happened
            self._old += not happened
            (slot.pictures.add if image in there else slot.pictures.discard)(image)

    def _check(self, when: str, dead: list[Slot]) -> None:
        there = state.images(self._home)
        for slot in dead:  # the others forget meanwhile
            self._wrong += [f"{when}: {image[:8]} was acknowledged and is gone" for image in slot.pictures - there]
            self._wrong += [f"{when}: {image[:8]} was forgotten and is there" for image in slot.gone & there]
        self._checks += 1
        try:
            if len(dead) == WORKERS:
                state.of(self._home)
            if self._checks % LOOK == 0:
                for finding in verify(self._home).findings:
                    if not finding.ok:
                        self._wrong.append(f"{when}: {finding.check}: {finding.seen}")
        except (state.Damaged, HomeError) as error:
            self._wrong.append(f"{when}: {error}")


def _work(home: Path, tell: int, number: int, mine: list[str]) -> None:
    """Do one step after another until killed."""
    dice = random.Random(number)

    def say(*words: str) -> None:
        os.write(tell, (" ".join(words) + "\n").encode())

    while True:
        with Learner(home) as learner:
            for step in dice.choices(("teach", "retrain", "rolled-back", "forget"), (60, 15, 10, 15), k=8):
                if step == "teach":
                    label = dice.choice(LABELS)
                    picture = frame(label, dice.getrandbits(60))
                    image = hashlib.sha256(picture.data).hexdigest()
                    say("begin", step, image)
                    learner.teach(label, [picture])
                    mine.append(image)
                    say(step, image)
                elif step == "forget" and len(mine) > KEPT:
                    image = mine.pop(dice.randrange(len(mine)))
                    found = learner.store.examples(images=[image])
                    say("begin", step, image)
                    learner.forget([str(found[0].id)])
                    say(step, image)
                elif step == "retrain":
                    say("begin", step)
                    learner.retrain()
                    say("retrained")
                elif step == "rolled-back":
                    say("begin", step)
                    with learner.store.snapshot():
                        usable = [e.generation for e in learner.history() if e.usable]
                    try:
                        learner.rollback(dice.choice(usable))
                        say(step)
                    except HomeError as error:  # another forgot meanwhile what it had learned
                        if error.code not in ("generation-unusable", "generation-unknown"):
                            raise
