"""What is interrupted: every command that writes, on a small home, in steps that are acknowledged one by one."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.torture import state
from benchmarks.torture.device import Device, frame
from edge.bundle import archive
from edge.care.backup import backup, restore
from edge.errors import BundleError
from edge.fleet import contribution
from edge.fleet.identity import device_of
from edge.fleet.names import Named
from edge.fleet.remote import open_remote
from edge.home.database import FILE
from edge.learner import Learner
from export.fleet.gather import Rules
from export.fleet.merge import merge
from tests.edge.fleet.pooled import pooled
from tests.edge.fleet.published import publish

Step = Callable[[Path, Device], None]  # gets the folder that holds `home`


@dataclass(frozen=True)
class Operation:
    """One command."""

    name: str  # for the table
    before: Step  # makes the state in which it begins
    steps: tuple[Step, ...]  # what it does; when one returns, what it did must outlive everything
    look: Callable[[Path], str]  # the folder's state in one line


def _now() -> datetime:
    return datetime(2026, 11, 24, tzinfo=UTC)


def _open(folder: Path) -> Learner:
    return Learner(folder / "home", _now)


def _teach(label: str, first: int, count: int, surface: str = "grass") -> Step:
    def step(folder: Path, device: Device) -> None:
        with _open(folder) as learner:
            learner.teach(label, [frame(surface, first + i) for i in range(count)])

    return step


def _asked(what: Callable[[Learner], object]) -> Step:
    """One call of the home's learner."""

    def step(folder: Path, device: Device) -> None:
        with _open(folder) as learner:
            what(learner)

    return step


_retrain = _asked(lambda learner: learner.retrain())
_rollback = _asked(lambda learner: learner.rollback(1))
_forget = _asked(lambda learner: learner.forget(["2"]))
_forget_label = _asked(lambda learner: learner.forget(label="coins"))
_correct = _asked(lambda learner: learner.relabel(["1"], "grass"))
_rename = _asked(lambda learner: learner.rename("coins", "money"))
_merge = _asked(lambda learner: learner.rename("money", "brick", merge=True))


def _nothing(folder: Path, device: Device) -> None:
    pass


def _init(folder: Path, device: Device) -> None:
    Learner.init(folder / "home", device.bundle, clock=_now).close()


def _upgrade(folder: Path, device: Device) -> None:
    Learner.init(folder / "home", device.newer, clock=_now).close()


def _taught(folder: Path, device: Device) -> None:
    _init(folder, device)
    _teach("coins", 100, 4, "coins")(folder, device)
    _retrain(folder, device)
    _teach("brick", 100, 3, "brick")(folder, device)


def _cut_off(folder: Path, device: Device) -> None:
    """A home as a power cut leaves it: a log that was never folded into the database."""
    _taught(folder, device)
    with _open(folder) as learner:
        learner.teach("grass", [frame("grass", 300)])
        shutil.copytree(folder / "home", folder / "cut")
    shutil.rmtree(folder / "home")
    (folder / "cut").rename(folder / "home")


def _older(folder: Path, device: Device) -> None:
    """A home of the first schema."""
    _taught(folder, device)
    db = sqlite3.connect(folder / "home" / FILE)
    db.execute("DROP INDEX examples_at_a_glance")
    for table, columns in {
        "heads": ("gate", "own", "crc"),
        "examples": ("thumb", "relabelled_after", "crc", "look"),
    }.items():
        for column in columns:
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()


def _bundle_there(folder: Path, device: Device) -> None:
    shutil.copyfile(device.bundle, folder / "kitchen.edge")


def _write_bundle(folder: Path, device: Device) -> None:
    made = archive.read(device.newer)
    models = {model.file: made.entry(model.file) for model in made.manifest.models}
    archive.write(folder / "kitchen.edge", made.manifest, models, made.golden(), made.examples())


def _look_at_bundle(folder: Path) -> str:
    try:
        read = archive.read(folder / "kitchen.edge")
        read.verify()
    except BundleError as error:
        raise state.Damaged(str(error)) from error
    return ", ".join(read.manifest.labels)


def _backup(folder: Path, device: Device) -> None:
    with _open(folder) as learner:
        backup(learner, folder / "home.backup")


def _backup_there(folder: Path, device: Device) -> None:
    _taught(folder, device)
    _backup(folder, device)


def _restorable(folder: Path, device: Device) -> None:
    _backup_there(folder, device)
    shutil.rmtree(folder / "home")


def _restore(folder: Path, device: Device) -> None:
    restore(folder / "home.backup", folder / "home")


def _look_at_home(folder: Path) -> str:
    return state.of(folder / "home")


def _look_at_backup(folder: Path) -> str:
    """The state of the home, and of what the backup would give back."""
    target = folder / "restored"
    shutil.rmtree(target, ignore_errors=True)
    try:
        restore(folder / "home.backup", target)
        return f"{state.of(folder / 'home')} {state.of(target)}"
    except OSError as error:
        raise state.Damaged(f"the backup cannot be restored: {error}") from error
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _backed_up_then_taught(folder: Path, device: Device) -> None:
    _backup_there(folder, device)
    _teach("gravel", 400, 1, "gravel")(folder, device)


def _in_fleet(folder: Path, device: Device) -> None:
    """A home that has an id, and a store with a release for it; `made.edge` is the base of another."""
    _taught(folder, device)
    with _open(folder) as learner:
        device_of(learner, None, fresh=False)
    (folder / "store").mkdir()
    publish(
        open_remote((folder / "store").as_uri()), 1, 1, pooled(device.bundle, folder / "made.edge", ["b" * 32]).path
    )


def _contribute(folder: Path, device: Device) -> None:
    with _open(folder) as learner:
        learner.contribute((folder / "store").as_uri())


def _follow(folder: Path, device: Device) -> None:
    with _open(folder) as learner:
        learner.follow((folder / "store").as_uri())


def _contributed(folder: Path, device: Device) -> None:
    _in_fleet(folder, device)
    _contribute(folder, device)
    _bundle_there(folder, device)


def _merge_fleet(folder: Path, device: Device) -> None:
    base = folder / "made.edge"
    store = open_remote((folder / "store").as_uri())
    merge(
        store, base, folder / "kitchen.edge", lambda opened: Rules(opened.manifest.backbone), lambda done, total: None
    )


def _look_at_fleet(folder: Path) -> str:
    """The state of the home, and the examples that the store has of it, whatever the contribution's number."""
    told = ""
    for path in sorted((folder / "store" / "devices").glob("*/*.edgefleet")):
        name, data = Named.parse(str(path.relative_to(folder / "store"))), path.read_bytes()
        if name is None or contribution.sha256(data) != name.sha256:
            raise state.Damaged(f"{path.name} in the store is not what its name says")
        found = contribution.read(path.name, data)
        columns = (a.tobytes() for part in found.parts() for a in (part.images, part.labels, part.embeddings))
        told = contribution.sha256(b"".join([repr(found.about.labels).encode(), *columns]))
    return f"{state.of(folder / 'home')} {told}"


OPERATIONS = (
    Operation("teach", _taught, (_teach("grass", 200, 3), _teach("sky", 210, 2)), _look_at_home),
    Operation("teach, cut off before", _cut_off, (_teach("coins", 200, 2, "coins"),), _look_at_home),
    Operation("retrain", _taught, (_retrain,), _look_at_home),
    Operation("init", _nothing, (_init,), _look_at_home),
    Operation("init, newer bundle", _taught, (_upgrade,), _look_at_home),
    Operation("older schema", _older, (_teach("grass", 200, 1),), _look_at_home),
    Operation("rollback", _taught, (_rollback,), _look_at_home),
    Operation("forget", _taught, (_forget,), _look_at_home),
    Operation("forget a label", _taught, (_forget_label,), _look_at_home),
    Operation("relabel, rename", _taught, (_correct, _rename, _merge), _look_at_home),
    Operation("backup", _backed_up_then_taught, (_backup,), _look_at_backup),
    Operation("restore", _restorable, (_restore,), _look_at_home),
    Operation("contribute", _in_fleet, (_contribute, _teach("grass", 200, 2), _contribute), _look_at_fleet),
    Operation("follow", _in_fleet, (_follow,), _look_at_fleet),
    Operation("fleet merge", _contributed, (_merge_fleet,), _look_at_bundle),
    Operation("bundle build", _bundle_there, (_write_bundle,), _look_at_bundle),
)
