"""`doctor`: look at everything that can be wrong on a device, and say for each what to do.

Every runtime is tried in a child process: one that was built for another processor dies of an illegal instruction,
and must not take us with it.
"""

import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge import backbone, bundle, photos, preprocess
from edge.answers import Finding
from edge.compare import DomainCheck
from edge.errors import EdgeError
from edge.learner import Learner
from edge.store import FILE

MIN_FREE = 100_000_000  # bytes on the home's disk
BUILT = 1_767_225_600  # 2026-01-01, seconds since 1970: a clock before it has not been set
_VOLATILE = {"tmpfs": "in memory", "ramfs": "in memory", "overlay": "on an overlay"}


def examine(home: Path, pictures: Sequence[Path] = ()) -> list[Finding]:
    """Check this machine and the home, and pictures of the camera here; never raises for what it finds.

    Args:
        home: the folder; it need not exist yet.
        pictures: files or folders of them, to be compared with the bundle's.

    Returns:
        One finding per check, in the order in which they depend on each other.
    """
    findings = [_python(), *_runtimes(), _clock(), _space(home), _volatile(home)]
    if (home / FILE).exists():
        findings += _home(home, pictures)
    else:
        findings.append(Finding("home", False, f"none at {home}", f"make one: edge --home {home} init NAME.edge"))
    return findings


def _python() -> Finding:
    seen = f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"
    return Finding("python", sys.version_info >= (3, 11), seen, "install Python 3.11 or later")


def _runtimes() -> list[Finding]:
    """Try each installed runtime; one that works is enough."""
    findings = []
    for runtime in backbone.RUNTIMES:
        if runtime.installed:
            seen = _try(runtime)
            remedy = f"reinstall it: pip install --force-reinstall 'edge-transfer[{runtime.extra}]'"
            findings.append(Finding(runtime.name, not seen, seen or "loads", remedy))
    if not findings:
        remedy = " or ".join(f"pip install 'edge-transfer[{r.extra}]'" for r in backbone.RUNTIMES)
        findings.append(Finding("runtime", False, "none is installed", remedy))
    return findings


def _try(runtime: backbone.Runtime) -> str:
    """Return what goes wrong on loading a runtime, or ""."""
    script = f"from edge import backbone; backbone.load_runtime('{runtime.name}')"
    try:
        child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "does not load within a minute"
    if child.returncode < 0:
        return f"dies on loading: {signal.Signals(-child.returncode).name}; its wheel does not fit this processor"
    lines = child.stderr.strip().splitlines()
    return (lines[-1].partition(": ")[2] or lines[-1]) if child.returncode and lines else ""


def _clock() -> Finding:
    now = time.time()
    seen = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    return Finding("clock", now > BUILT, seen, "set the clock (timedatectl), or examples get a wrong date")


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(_existing(home)).free
    return Finding("space", free > MIN_FREE, f"{free / 1e9:.1f} GB free", "free some space on the disk of the home")


def _volatile(home: Path) -> Finding:
    """See whether the home lies where a reboot loses it: in memory, or on a read-only card's overlay."""
    kind = ""
    longest = -1
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        mounts = []
    folder = _existing(home)
    for line in mounts:
        point, found = line.split()[1:3]
        if folder.is_relative_to(point.replace("\\040", " ")) and len(point) > longest:
            longest, kind = len(point), found
    where = _VOLATILE.get(kind)
    seen = f"{kind or 'unknown'} file system" + (f": {where}, all learning is lost at the next reboot" if where else "")
    return Finding(
        "storage", where is None, seen, "put the home on the card or a disk (--home), or disable the overlay"
    )


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path.resolve()


def _home(home: Path, pictures: Sequence[Path]) -> list[Finding]:
    """Check database, bundle, golden pictures and the camera's; what depends on a failed check is left out."""
    findings = []
    check = "home"
    remedy = "restore a copy of the home, or move it away and run edge init again"
    try:
        with Learner.open(home) as learner:
            damage = learner.store.damage()
            findings.append(Finding("home", not damage, damage or f"{learner.store.count()} examples, intact", remedy))
            check, remedy = "head", "edge retrain"
            serving = learner.serving()
            findings.append(Finding("head", True, f"generation {serving.generation} serves", remedy))
            check, remedy = "bundle", "run edge init again with a fresh copy of the bundle"
            learner.bundle.verify()
            findings.append(Finding("bundle", True, f"{learner.bundle.manifest.name}, every hash fits", remedy))
            trusted = learner.trusted()
            if trusted.keys:
                seen = trusted.problem or f"signed with {trusted.key}, which is trusted here"
                findings.append(Finding("signature", not trusted.problem, seen, "edge trust says which keys count"))
            check, remedy = "golden", "run edge init again, with another --runtime"
            findings.append(_golden(learner, learner.bundle.golden(), remedy))
            if pictures:
                check, remedy = "pictures", "name picture files, or folders of them"
                findings += _pictures(learner, pictures)
    except (EdgeError, sqlite3.Error, OSError) as error:
        findings.append(Finding(check, False, str(error), remedy))
    return findings


def _pictures(learner: Learner, paths: Sequence[Path]) -> list[Finding]:
    """Compare pictures with those that the home was taught."""
    files = [file for path in paths for file in preprocess.find(path)]
    check = DomainCheck(learner)
    unreadable = 0
    for photo in photos.embed(files, learner.backbone(len(files)), learner.info, look=True):
        check.add(photo)
        unreadable += photo.error is not None
    findings = []
    if unreadable:
        seen = f"{unreadable} of {len(files)} cannot be read"
        findings.append(Finding("pictures", False, seen, "see which, and why: edge classify with the same paths"))
    for line in check.lines():
        seen, _, remedy = line.partition(": ")
        findings.append(Finding("pictures", False, seen, remedy))
    if unreadable < len(files) and len(findings) == bool(unreadable):
        seen = f"{len(files) - unreadable} look like those of the bundle"
        if not check.known:
            seen = "this bundle does not say what its photos look like; build it again to compare light and focus"
        findings.append(Finding("pictures", True, seen, ""))
    return findings


def _golden(learner: Learner, golden: bundle.Golden, remedy: str) -> Finding:
    model = learner.model
    start = time.perf_counter()
    parity = backbone.prove(learner.backbone(), golden.images, golden.embeddings, model.precision, model.file)
    each = 1000 * (time.perf_counter() - start) / len(golden.images)
    seen = (
        f"{len(golden.images)} pictures on {learner.backbone().runtime} give the workstation's embeddings "
        f"(error {parity.error:.0e}, cosine {parity.cosine:.4f}), {each:.0f} ms each"
    )
    return Finding("golden", True, seen, remedy)
