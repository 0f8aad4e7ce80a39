"""`backup` and `restore`: a whole home in one file.

A zip whose entries are stored, not compressed:

| entry | holds |
|---|---|
| backup.json | `format` (1), `created`, `bundle` (its name in the home), `files`: name → `size`, `sha256` |
| learner.db | the database, one state of it, taken while others go on writing |
| bundle.edge | the adopted bundle |

A backup is written completely or not at all. `restore` checks all of it before it becomes a home, by one rename; an
existing home or file is never touched.

Source: sqlite.org on the online backup API.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import zipfile
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path

from edge.answers import BackedUp
from edge.care.verify import verify
from edge.errors import HomeError, disk_errors_as
from edge.files import abandoned, check_output, make_folder, new_partial, replacing, sync_folder
from edge.home.database import FILE, FOLDER
from edge.home.state import Home
from edge.home.store import open_store
from edge.metrics.figures import read_json

_ABOUT, _BUNDLE = "backup.json", "bundle.edge"
_LIMIT = 1_000_000  # bytes of backup.json
_BLOCK = 1 << 20
_OURS = re.compile(r"turn\.lock|learner\.db(-wal|-shm)?|[0-9a-f]{16}\.edge")  # in a half restored home


def backup(home: Home, file: Path) -> BackedUp:
    """Write a home to one file.

    Args:
        home: the home; other processes may use it meanwhile.
        file: the file to write; an older backup is replaced, a file of another kind is refused.

    Raises:
        HomeError: the home is damaged, or the disk refuses.
        BundleError: the path cannot be written, or the installed bundle is damaged.
    """
    store = home.store
    check_output(file, "home.backup", "a backup of edge", f"{_ABOUT}{{".encode())
    if damage := store.damage():
        raise HomeError(
            "home-damaged",
            f"{home.home} is damaged ({damage}), so a backup would be damaged as well; to check it, run: edge verify",
        )
    with (
        disk_errors_as(HomeError, "home-unwritable", f"{file} cannot be written", "choose another path"),
        ExitStack() as closing,
    ):
        copy = new_partial(file.with_name(f"{file.name}.db"), 0o600)
        closing.callback(copy.unlink, missing_ok=True)
        closing.enter_context(store.snapshot())
        home.bundle.verify()
        store.copy_to(copy)
        examples, generation, bundle = store.count(), home.serving().generation, home.bundle.path
        with bundle.open("rb") as adopted, copy.open("rb") as database, replacing(file, 0o600) as partial:
            about = {
                "format": 1,
                "created": home.now(),
                "bundle": bundle.name,
                "files": {FILE: _entry(database), _BUNDLE: _entry(adopted)},
            }
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_ABOUT, json.dumps(about, indent=1))
                for name, source in ((FILE, database), (_BUNDLE, adopted)):
                    source.seek(0)
                    with archive.open(name, "w", force_zip64=True) as target:
                        shutil.copyfileobj(source, target, _BLOCK)
    return BackedUp(str(file), file.stat().st_size, examples, generation)


def restore(file: Path, home: Path) -> None:
    """Create a home from a backup; an existing home is never overwritten.

    Args:
        file: a file written by `backup`.
        home: the new home; the folder must be empty or not exist.

    Raises:
        HomeError: the folder is not empty, the file is not a backup or is damaged, or the disk refuses.
    """
    _refuse_to_replace(home, file)
    home = home.absolute()
    with (
        disk_errors_as(HomeError, "home-unwritable", f"{home} cannot be written", "nothing was restored"),
        ExitStack() as closing,
    ):
        make_folder(home.parent)
        for left in abandoned(home):  # of a restore that was cut off
            _remove(left)
        partial = new_partial(home, 0o700, folder=True)
        closing.callback(shutil.rmtree, partial, ignore_errors=True)
        _unpack(file, partial)
        for finding in verify(partial).findings:
            if not finding.ok:
                raise HomeError(
                    "backup-damaged", f"{file}: {finding.check} is damaged ({finding.seen}); use another backup"
                )
        _note_folder(partial, home)
        for path in partial.iterdir():
            with path.open("rb") as written:
                os.fsync(written.fileno())
        sync_folder(partial)
        partial.rename(home)
        sync_folder(home.parent)


def _note_folder(partial: Path, home: Path) -> None:
    """Mark the folder as ours; an existing empty folder keeps its permissions."""
    there = home.is_dir()
    with open_store(partial) as store, store.transaction():
        store.put(FOLDER, str(int(not there)))
    if there:
        partial.chmod(stat.S_IMODE(home.stat().st_mode))


def _remove(left: Path) -> None:
    """Delete a partly restored home, unless it contains other files."""
    if left.is_dir() and not any(path.is_dir() or not _OURS.fullmatch(path.name) for path in left.iterdir()):
        shutil.rmtree(left)


def _refuse_to_replace(home: Path, file: Path) -> None:
    if not home.exists():
        return
    if not home.is_dir() or any(home.iterdir()):
        what = "is already a home" if (home / FILE).exists() else "is not empty"
        raise HomeError(
            "home-exists",
            f"{home} {what} and was not changed; to replace it, run: mv {home} {home}.old && "
            f"edge --home {home} restore {file}",
        )


def _entry(file: BufferedReader) -> dict[str, object]:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": file.seek(0, os.SEEK_END), "sha256": digest}


def _unpack(file: Path, folder: Path) -> None:
    """Write a backup's files into a folder, each checked against its SHA-256."""
    foreign = f"{file} is not a backup of edge, or is damaged"
    with disk_errors_as(HomeError, "backup-damaged", f"{file} cannot be read", "check the path"):
        opened = file.open("rb")
    try:
        with opened, zipfile.ZipFile(opened) as archive:
            infos = archive.infolist()
            if sorted(i.filename for i in infos) != sorted((_ABOUT, FILE, _BUNDLE)):
                raise HomeError("backup-damaged", f"{foreign}: it contains other files than a backup")
            if any(i.compress_type != zipfile.ZIP_STORED or i.file_size != i.compress_size for i in infos):
                raise HomeError("backup-damaged", f"{foreign}: its files are compressed")
            if archive.getinfo(_ABOUT).file_size > _LIMIT:
                raise HomeError("backup-damaged", f"{foreign}: {_ABOUT} is too large")
            about = read_json(archive.read(_ABOUT))
            if about["format"] != 1:
                raise HomeError(
                    "too-new",
                    f"{file} has format {about['format']}, but this version reads only 1; upgrade edge-transfer",
                )
            if not re.fullmatch(r"[0-9a-f]{16}\.edge", about["bundle"]):
                raise HomeError("backup-damaged", f"{foreign}: {about['bundle']!r} is not the name of a bundle")
            for name, target in ((FILE, FILE), (_BUNDLE, about["bundle"])):
                digest = hashlib.sha256()
                (folder / target).touch(mode=0o600, exist_ok=False)
                with archive.open(name) as source, (folder / target).open("wb") as written:
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        written.write(block)
                if digest.hexdigest() != about["files"][name]["sha256"]:
                    raise HomeError(
                        "backup-damaged", f"{file}: {name} is damaged (its SHA-256 differs); use another backup"
                    )
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise HomeError("backup-damaged", f"{foreign} ({error})") from error
