"""`follow`: installs the release meant for this device, unless it is clearly worse for the examples taught here.

The release is downloaded part by part into the home's folder, to a file named after its SHA-256, so an interrupted
download is resumed. It is checked and installed as `init` does, in one transaction with a newly fitted head. If that
head is clearly worse than the current one, the transaction is rolled back and the device keeps everything as it was.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.answers import Followed, Retrained
from edge.bundle import archive
from edge.errors import BundleError, EdgeError, FleetError, HomeBusy, HomeError, disk_errors_as
from edge.files import locked, sha256
from edge.fleet import notes
from edge.fleet.identity import unasked
from edge.fleet.names import release_name
from edge.fleet.notes import Taken
from edge.fleet.release import Release, newest_plan
from edge.fleet.remote import Remote, open_remote
from edge.home.ours import RELEASE
from edge.learning.init import init

if TYPE_CHECKING:
    from edge.home.state import Home
    from edge.network.backbone import Backbone

BLOCK = 1 << 20  # bytes per request
_MOST_TEXT = 500

Progress = Callable[[int, int], None]


class _Refused(Exception):
    """The first head of a release is clearly worse."""

    def __init__(self, head: Retrained) -> None:
        self.head = head


def follow(home: "Home", url: str, network: "Backbone | None", progress: Progress | None) -> Followed:
    """Install this device's release; arguments and errors are those of `edge.learner.Learner.follow`."""
    remote = open_remote(url)
    device = unasked(home)
    store = home.store
    found = newest_plan(remote)
    meant = found[1].meant_for(device) if found else None
    _note(home, remote.url, None)
    if meant is None:
        return _answer(home, remote.url, device, None, False, None)
    taken, taught = notes.read(store).taken, store.digest()
    same = taken is not None and (taken.release, taken.sha256) == (meant.number, meant.sha256)
    if home.bundle.path.stem == meant.sha256[:16]:
        if not (same and taken and taken.verdict == "accepted"):  # not recorded yet, or installed by hand
            taken = Taken(meant.number, meant.sha256, "accepted", "", home.now(), taught)
            _note(home, remote.url, taken)
        with contextlib.suppress(HomeError), _alone(home.home, None):  # an interrupted call may have left its file
            pass
        return _answer(home, remote.url, device, meant, False, taken)
    if same and taken and taken.verdict == "refused" and taken.taught == taught:
        return _answer(home, remote.url, device, meant, False, taken)
    why = _adopt(home, remote, meant, network, progress)
    taken = Taken(meant.number, meant.sha256, "refused" if why else "accepted", why, home.now(), taught)
    _note(home, remote.url, taken)
    return _answer(home, remote.url, device, meant, True, taken)


def _answer(home: "Home", url: str, device: str, meant: Release | None, new: bool, taken: Taken | None) -> Followed:
    serving = home.serving_generation()
    return Followed(
        url=url,
        device=device,
        release=meant.number if meant else None,
        new=new,
        verdict=taken.verdict if taken else None,
        why=taken.why if taken else "",
        bundle=home.bundle.manifest.name,
        generation=home.serving().generation,
        loo_accuracy=serving.figures.get("loo_accuracy") if serving else None,
    )


def _adopt(home: "Home", remote: Remote, meant: Release, network: "Backbone | None", progress: Progress | None) -> str:
    """Download a release, check it and fit a head with it; returns why it was refused, or ""."""

    def judge(head: Retrained) -> None:
        if not head.promoted:
            raise _Refused(head)

    file = home.home / f"release-{meant.sha256[:16]}.part"
    with _alone(home.home, file):
        download(remote, meant, file, progress or (lambda _done, _total: None))
        format, precision = _as_before(home, file)
        try:
            init(
                home.home, file, format, precision, None, home.clock, None, (), network,
                lambda _done, _total: None, judge, home.store,
            )  # fmt: skip
            why = ""
        except _Refused as refused:  # keep the file: the release is tried again once more was taught
            return _shortened(refused.head.refusal)
        except (BundleError, HomeError) as error:  # not a bundle, not for this device, or not trusted
            passing = error.code in ("file-unreadable", "file-changed")  # it says nothing of the release
            if passing or (isinstance(error, HomeError) and error.code != "backbone-changed"):
                raise
            why = str(error).replace(str(file), release_name(meant.number))
        file.unlink(missing_ok=True)
    return _shortened(why)


def download(remote: Remote, release: Release, file: Path, progress: Progress) -> None:
    """Download a release to a file, resuming an interrupted download.

    Args:
        release: the release, with its SHA-256 and size.
        file: the file to write; existing contents are taken to be its beginning, which the SHA-256 verifies.
        progress: called with (bytes so far, total bytes).

    Raises:
        StoreError: the store cannot be reached or refuses; the part that was downloaded stays for the next call.
        FleetError: the bytes do not match the release's SHA-256; they are deleted.
        HomeError: the file cannot be written.
    """
    name = release_name(release.number)
    if (size := remote.size(name)) != release.size:
        raise FleetError(
            "release-damaged",
            f"{remote.url}: {name} has {size} bytes, but its plan says {release.size}; publish it again",
        )
    for resumed in (True, False):
        if _copied(remote, name, release, file, progress, resumed) == release.sha256:
            return
        file.unlink(missing_ok=True)  # the file held something else: download again from the start
    raise FleetError(
        "release-damaged", f"{remote.url}: {name} is not what its plan says (its SHA-256 differs); publish it again"
    )


def _copied(remote: Remote, name: str, release: Release, file: Path, progress: Progress, resumed: bool) -> str:
    """Download the missing part; returns the SHA-256 of the whole file."""
    room = f"the release has {release.size / 1e6:.1f} MB: free some space and try again"
    with disk_errors_as(HomeError, "home-unwritable", f"{file} cannot be written", room):
        with file.open("ab" if resumed else "wb") as target:
            file.chmod(0o600)
            done = target.tell()
            if done > release.size:
                target.truncate(0)
                done = 0
            while done < release.size:
                progress(done, release.size)
                data = remote.part(name, done, min(BLOCK, release.size - done))
                target.write(data)
                done += len(data)
            target.flush()
            os.fsync(target.fileno())
        progress(done, release.size)
        return sha256(file)


@contextlib.contextmanager
def _alone(folder: Path, file: Path | None) -> Iterator[None]:
    """Keep other `follow` calls of this home from downloading, and delete earlier leftovers except for one file."""
    try:
        lock = locked(folder / "follow.lock")
    except OSError as error:
        raise HomeError("home-unwritable", f"{folder} cannot be written ({error.strerror})") from error
    if lock is None:
        raise HomeBusy("home-busy", f"another edge follow is running in {folder}; wait until it is done")
    try:
        for other in folder.glob("release-*.part"):
            if other != file and RELEASE.fullmatch(other.name):
                other.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)


def _as_before(home: "Home", file: Path) -> tuple[str | None, str | None]:
    """Return the current format and precision if the release has them too."""
    wanted = home.adopted()[1:]
    with contextlib.suppress(EdgeError):  # `init` reports the error
        if wanted in [(model.format, model.precision) for model in archive.read(file).manifest.models]:
            return wanted[0], wanted[1]
    return None, None


def _note(home: "Home", url: str, taken: Taken | None) -> None:
    store = home.store
    with store.transaction():
        noted = dataclasses.replace(notes.read(store), url=url)
        notes.put(store, noted if taken is None else dataclasses.replace(noted, taken=taken))


def _shortened(why: str) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in why)
    return shown if len(shown) <= _MOST_TEXT else shown[: _MOST_TEXT - 1] + "…"
