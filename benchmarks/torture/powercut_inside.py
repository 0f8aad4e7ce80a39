"""Inside the machine whose power is cut: say what state the home is in, then change it until there is no more power.

    python -m benchmarks.torture.powercut_inside prepare | check | work FIRST SEED [unsynced]

Two processes work on one home: one teaches, the other retrains, rolls back, forgets and upgrades. Each says on the
console what it begins and, once it was told that it is done, that it is done. `unsynced` is the program as it would be
if it never waited for the disk: os.fsync does nothing, and neither does SQLite's.

Picture number N is the same at each boot, and its file's name ends in N: so the home tells which it holds.
"""

import functools
import io
import json
import os
import random
import re
import sqlite3
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from edge.home.serving import load
from edge.learner import Learner
from edge.network import photos
from edge.picture.frame import Frame

HOME = Path("/var/lib/edge")
BUNDLES = (Path("/opt/checkout/tiny.edge"), Path("/opt/checkout/newer.edge"))
LABELS = ("brick", "coins", "grass", "gravel")
AGAIN = 4  # of the newest pictures, embedded again and compared with what the home holds


def main() -> None:
    """Do what the first word says."""
    if sys.argv[1] == "prepare":
        Learner.init(HOME, BUNDLES[0]).close()
        say("prepared")
        return
    print("state " + json.dumps(_state()), flush=True)
    if sys.argv[1] == "check":
        return
    if sys.argv[4:] == ["unsynced"]:
        os.fsync = os.fdatasync = lambda _: None
        sqlite3.connect = functools.partial(sqlite3.connect, factory=_Unsynced)  # type: ignore[assignment]
    first, chance = int(sys.argv[2]), random.Random(int(sys.argv[3]))
    try:
        if os.fork():
            _teach(first, chance)
        else:
            _change(chance)
    except BaseException as error:
        say(f"failed {type(error).__name__}: {error}")
        raise


def say(line: str) -> None:
    """Write a whole line to the console at once."""
    os.write(1, f"{line}\n".encode())


def picture(number: int) -> Frame:
    """The picture of this number: noise around a colour, small."""
    chance = np.random.default_rng(number)
    pixels = chance.integers(0, 60, (20, 20, 3)) + 190 * np.eye(4, 3, dtype=np.int64)[number % 4]
    data = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(data, "PNG")
    return Frame(f"picture {number}", data.getvalue(), 0.0)


def _teach(number: int, chance: random.Random) -> None:
    with Learner(HOME) as learner:
        while True:
            label, count = chance.choice(LABELS), chance.randint(1, 8)
            frames = [picture(n) for n in range(number, number + count)]
            say(f"begin teach {number} {count}")
            assert len(learner.teach(label, frames).examples) == count
            say(f"done teach {number} {count}")
            number += count


def _change(chance: random.Random) -> None:
    learner = Learner(HOME)
    while True:
        kind = chance.choices(("retrain", "rollback", "forget", "init"), (5, 2, 2, 1))[0]
        examples = (
            learner.store.examples()[:-20] if kind == "forget" else []
        )  # not one that is about to be acknowledged
        usable = [e.generation for e in learner.history() if e.usable]
        if kind == "forget" and examples:
            gone = chance.choice(examples)
            say(f"begin forget {_number(gone.source)}")
            learner.forget([str(gone.id)])
        elif kind == "rollback" and len(usable) > 1:
            target = chance.choice(usable)
            say(f"begin rollback {target}")
            learner.rollback(target)
        elif kind == "init":
            say("begin init")
            learner.close()
            learner = Learner.init(HOME, chance.choice(BUNDLES))
        else:
            kind = "retrain"
            say("begin retrain")
            learner.retrain()
        status = learner.status()
        say(f"done {kind} {learner.history()[-1].generation} {status.generation}")


def _state() -> dict[str, object]:
    """The home as it is: which pictures it holds, its generations, which serves; and all that is wrong with it."""
    wrong: list[str] = []
    numbers: list[int] = []
    generations: list[int] = []
    serving = 0
    try:
        with Learner(HOME) as learner:
            learner.bundle.verify()
            wrong += filter(None, [learner.store.damage()])
            examples = learner.store.examples()
            numbers = [_number(e.source) for e in examples]
            kept = learner.store.embeddings([e.id for e in examples], learner.info.dimension)  # finite, of right length
            newest = [picture(n) for n in numbers[-AGAIN:]]
            again = [photo.embedding for photo in photos.embed(newest, learner.backbone(), learner.info)]
            if any(not np.array_equal(a, b) for a, b in zip(again, kept[-AGAIN:] if newest else [], strict=True)):
                wrong.append("an embedding is not that of its picture")
            serving = learner.serving().generation
            entries = learner.history()
            generations = [e.generation for e in entries]
            for entry in entries:
                if entry.usable:
                    load(learner.store, learner.info, learner.background, entry.generation)
    except Exception as error:  # whatever it is, it is a finding
        wrong.append(f"{type(error).__name__}: {error}")
    return {"numbers": _ranges(numbers), "generations": _ranges(generations), "serving": serving, "wrong": wrong}


def _number(source: str) -> int:
    found = re.search(r"(\d+)$", source)
    assert found, source
    return int(found[1])


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Numbers as ranges, the second of each excluded: the console is slow."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number:
            ranges[-1] = ranges[-1][0], number + 1
        else:
            ranges.append((number, number + 1))
    return ranges


class _Unsynced(sqlite3.Connection):
    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:  # type: ignore[override]
        return super().execute(re.sub("synchronous = (FULL|NORMAL)", "synchronous = OFF", sql), *values)


if __name__ == "__main__":
    main()
