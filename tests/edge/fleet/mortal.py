"""Kills `contribute` or `follow` before and after each write, and looks at what is left: run as a process of its own.

    python -m tests.edge.fleet.mortal contribute|follow FOLDER

FOLDER holds `home`, taught four pictures, and `store`. This process starts no thread, as a store does, so that what it
forks is whole; each step is taken in a process of its own. It prints what it saw after each kill: whether the store or
the home was new.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from edge.care.verify import verify
from edge.fleet import contribution
from edge.fleet.names import contributions
from edge.fleet.remote import Remote, open_remote
from edge.home.database import Database
from edge.learner import Learner
from edge.network import sandbox


class Deadly:
    """Counts the steps of this process, and kills it at one of them."""

    def __init__(self, at: int) -> None:
        self._left = at

    def _step(self) -> None:
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def around(self, call: Callable[..., object]) -> Callable[..., object]:
        """The same call, with a step before and after it."""

        def stepped(*arguments: object, **options: object) -> object:
            self._step()
            result = call(*arguments, **options)
            self._step()
            return result

        return stepped


def apart(act: Callable[[], object]) -> int:
    """Do something in a process of its own; returns how it ended."""
    child = os.fork()
    if not child:
        try:
            act()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def dying(at: int, act: Callable[[Path], object], folder: Path) -> bool:
    """Do something that is killed at one of its steps; returns whether it was."""

    def die() -> None:
        deadly = Deadly(at)
        for owner, name in (
            (Remote, "put"), (Remote, "part"), (Path, "hardlink_to"), (Path, "unlink"), (Path, "replace"),
            (os, "fsync"), (shutil, "copyfile"), (Database, "put"),
        ):  # fmt: skip
            setattr(owner, name, deadly.around(getattr(owner, name)))
        act(folder)

    status = apart(die)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def contribute(folder: Path) -> None:
    """Send what was taught."""
    with Learner(folder / "home") as learner:
        learner.contribute((folder / "store").as_uri())


def contributed(folder: Path) -> None:
    """Look at what is left, and let the next call end it."""
    url = (folder / "store").as_uri()
    names = contributions(open_remote(url).names("devices/"))
    assert len(names) <= 1
    for name in names:  # what is there is whole
        data = open_remote(url).get(str(name), 1 << 20)
        assert contribution.sha256(data) == name.sha256
        assert sum(map(len, contribution.read(str(name), data).parts())) == 4
    assert all(finding.ok for finding in verify(folder / "home").findings)
    with Learner(folder / "home") as learner:
        assert learner.contribute(url).sent is not bool(names)
        assert not learner.contribute(url).sent
    assert len(contributions(open_remote(url).names("devices/"))) == 1
    print("new" if names else "old", flush=True)


def follow(folder: Path) -> None:
    """Take the release."""
    with Learner(folder / "home") as learner:
        learner.follow((folder / "store").as_uri())


def followed(folder: Path) -> None:
    """Look at what is left, and let the next call end it."""
    assert all(finding.ok for finding in verify(folder / "home").findings)
    with Learner(folder / "home") as learner:
        new = learner.bundle.manifest.devices != ()
        assert learner.serving().generation
        told = learner.follow((folder / "store").as_uri())
        assert (told.release, told.verdict) == (1, "accepted")
        assert learner.bundle.manifest.devices
        assert not list(learner.home.glob("*.part"))
    print("new" if new else "old", flush=True)


def main() -> None:
    """Kill at one step after another, until none is left."""
    act, look = {"contribute": (contribute, contributed), "follow": (follow, followed)}[sys.argv[1]]
    template = Path(sys.argv[2])
    now = template.parent / "now"
    sandbox.prove = lambda *_: None  # type: ignore[assignment]  # tested elsewhere; here it would only take its time
    at = 0
    while True:
        shutil.rmtree(now, ignore_errors=True)
        shutil.copytree(template, now)
        died = dying(at, act, now)
        assert apart(lambda: look(now)) == 0, f"after step {at}"
        if not died:
            break
        at += 1


if __name__ == "__main__":
    main()
