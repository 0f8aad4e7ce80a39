"""`doctor`: check everything that can be wrong on a device, and say how to fix it.

It checks the computer (`machine`), each runtime in a separate process (`sandbox`), and the home: database, head,
bundle, and whether the network gives the workstation's embeddings here.
"""

import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.answers import Finding
from edge.bundle import archive
from edge.bundle.manifest import Manifest, ModelFile, most_precise
from edge.care import machine
from edge.codes import CODES
from edge.errors import UNDAMAGED, EdgeError
from edge.home.database import FILE
from edge.learner import Learner
from edge.learning.domain_check import DomainCheck
from edge.network import backbone
from edge.network.sandbox import Attempt, attempt
from edge.picture.count import Left, count, line, partly
from edge.picture.find import find
from edge.text import plural


def examine(home: Path, pictures: Sequence[Path] = (), proof: Path | None = None) -> list[Finding]:
    """Check this machine and the home, and pictures of its camera; problems are returned, not raised.

    Args:
        home: the home's folder, which need not exist yet.
        pictures: picture files or folders to compare with the bundle's photos.
        proof: a bundle to test without installing it.

    Returns:
        One finding per check, in the order in which they depend on each other.
    """
    loads, runtimes = _runtimes()
    findings = [*machine.examine(home), *runtimes]
    if os.access(home / FILE, os.F_OK):  # Path.exists raises where we may not look
        findings += _home(home, pictures, loads)
    elif proof is None and (os.access(home, os.R_OK) or not os.access(home, os.F_OK)):
        findings.append(
            Finding("home", False, f"none at {home}", f"to create it, run: edge --home {home} init NAME.edge")
        )
    if proof is not None:
        findings += _proof(proof, loads)
    return findings


def _runtimes() -> tuple[list[backbone.Runtime], list[Finding]]:
    """Try each installed runtime; return those that load, and the findings."""
    findings = []
    loads = []
    for runtime in backbone.RUNTIMES:
        if runtime.installed:
            failure = attempt(runtime).failure
            others = [other.extra for other in backbone.RUNTIMES if other is not runtime]
            remedy = f"{_install(others)}, and remove this: pip uninstall {runtime.package}"
            findings.append(Finding(runtime.name, not failure, failure or "loads", remedy))
            if not failure:
                loads.append(runtime)
    if not findings:
        remedy = _install([runtime.extra for runtime in backbone.RUNTIMES])
        findings.append(Finding("runtime", False, "none is installed", remedy))
    return loads, findings


def _install(extras: Sequence[str]) -> str:
    """The command that installs a runtime here: install.sh if it made this environment, else pip."""
    own = Path(sys.prefix).parent / "install.sh"
    if own.is_file():
        return " or ".join(("" if os.access(own.parent, os.W_OK) else "sudo ") + f"{own} {extra}" for extra in extras)
    return " or ".join(f"pip install 'edge-transfer[{extra}]'" for extra in extras)


def _home(home: Path, pictures: Sequence[Path], loads: Sequence[backbone.Runtime]) -> list[Finding]:
    """Check database, bundle, golden pictures and camera pictures, skipping checks that depend on a failed one."""
    findings = []
    check = "home"
    remedy = "restore a copy of the home, or move it away and run edge init again"
    try:
        with Learner(home) as learner:
            store = learner.store
            damage = store.damage()
            findings.append(
                Finding("home", not damage, damage or f"{plural(store.count(), 'example')}, intact", remedy)
            )
            check, remedy = "head", "edge retrain"
            serving = learner.serving()
            findings.append(Finding("head", True, f"generation {serving.generation} is in use", remedy))
            check, remedy = "bundle", "run edge init again with a fresh copy of the bundle"
            learner.bundle.verify()
            findings.append(Finding("bundle", True, f"{learner.bundle.manifest.name}, every hash matches", remedy))
            trusted = learner.trusted()
            if trusted.keys:
                seen = trusted.problem or f"signed with {trusted.key}, which is trusted"
                findings.append(Finding("signature", not trusted.problem, seen, "edge trust lists the trusted keys"))
            golden = _golden(learner.bundle.path, learner.model, loads)
            findings.append(golden)
            if pictures and golden.ok:
                check, remedy = "pictures", "give picture files, or folders of them"
                findings += _pictures(learner, pictures)
    except (EdgeError, sqlite3.Error, OSError) as error:
        if isinstance(error, EdgeError) and error.code in UNDAMAGED:
            remedy = CODES[error.code].remedy
        findings.append(Finding(check, False, str(error), remedy))
    return findings


def _pictures(learner: Learner, paths: Sequence[Path]) -> list[Finding]:
    """Compare pictures with the home's examples."""
    files, left = find(paths)
    check = DomainCheck(learner)
    unreadable: list[Left] = []
    for photo in learner.embed(files, look=True):
        check.add(photo)
        if photo.error is not None:
            unreadable.append(Left(photo.path, photo.error.reason))
    read = len(files) - len(unreadable)
    findings = []
    if left or unreadable:
        counted = count(read, [*left, *unreadable])
        remedy = "to see which and why, run edge classify with the same paths"
        findings.append(Finding("pictures", read > 0 and not partly(counted), line(counted), remedy))
    complaints = check.lines()
    for complaint in complaints:
        seen, _, remedy = complaint.partition(": ")
        findings.append(Finding("pictures", False, seen, remedy))
    if read and not complaints:
        seen = f"{read} resembles those of the bundle" if read == 1 else f"{read} resemble those of the bundle"
        if not check.known:
            seen = "this bundle does not describe its photos; build it again to compare light and focus"
        findings.append(Finding("pictures", True, seen, ""))
    return findings


def _proof(path: Path, loads: Sequence[backbone.Runtime]) -> list[Finding]:
    """Check a bundle that is not installed, and test the model that `init` would choose."""
    remedy = "build or copy it again"
    try:
        opened = archive.read(path)
        opened.verify()
        model = _model(opened.manifest, loads)
    except (EdgeError, OSError) as error:
        return [Finding("new bundle", False, str(error), remedy)]
    found = [Finding("new bundle", True, f"{opened.manifest.name}, every hash matches", remedy)]
    return [*found, _golden(path, model, loads)._replace(check="new golden")]


def _model(manifest: Manifest, loads: Sequence[backbone.Runtime]) -> ModelFile:
    """The model that `init` would choose: for the first runtime that loads, at full precision if available."""
    models = most_precise(manifest.models)
    return next((m for runtime in loads for m in models if m.format == runtime.format), models[0])


def _golden(path: Path, model: ModelFile, loads: Sequence[backbone.Runtime]) -> Finding:
    """Run the golden pictures through one model of a bundle, on the first of its runtimes that loads."""
    remedy = "run edge init again, with another --runtime"
    runtime = next((r for r in loads if r.format == model.format), None)
    if runtime is None:
        extras = [r.extra for r in backbone.RUNTIMES if r.format == model.format]
        return Finding("golden", False, f"no installed runtime can run {model.file}", _install(extras))
    tried: Attempt = attempt(runtime, path, model.file)
    if tried.failure:
        return Finding("golden", False, f"{model.file} on {runtime.name}: {tried.failure}", remedy)
    seen = (
        f"{tried.pictures} pictures with {runtime.name} give the same embeddings as on the workstation (error "
        f"{tried.error:.0e}, cosine {tried.cosine:.4f}), {tried.milliseconds:.0f} ms each"
        + (f", {tried.megabytes:.0f} MB" if tried.megabytes else "")
    )
    return Finding("golden", True, seen, remedy)
