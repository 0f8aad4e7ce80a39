"""`init`: install a bundle in a new or existing home.

The bundle is verified completely, and its golden pictures are run on this machine in a separate process. Only then is
it copied beside the database and named there, in one transaction with its first head, so that a power cut leaves either
the old state or the new one.
"""

import contextlib
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.answers import Retrained
from edge.bundle import archive
from edge.bundle.archive import Bundle
from edge.bundle.manifest import Manifest, ModelFile, most_precise
from edge.bundle.signature import Key
from edge.errors import BundleError, EdgeError, HomeError, LabelError, NotEnough, RuntimeMissing, disk_errors_as
from edge.files import replacing, sha256
from edge.home.factory import adopt_factory_labels, factory_labels
from edge.home.leftovers import delete_leftovers
from edge.home.ours import own_bundles, put_own_bundles
from edge.home.state import Clock, Home
from edge.home.store import Store, open_store
from edge.home.trust import pins, pins_of, put_pins
from edge.learning.reembed import Step, check_crops, embed_crops
from edge.network import backbone, parity, sandbox
from edge.retraining.retrain import refit
from edge.system.filename import quoted

_proved: set[tuple[str, ModelFile, str, str]] = set()  # runtime, model and hashes that this process has seen pass


def init(
    home: Path,
    path: Path,
    format: str | None,
    precision: str | None,
    keep_crops: bool | None,
    clock: Clock,
    trust: Key | None,
    labels: Sequence[str],
    network: backbone.Backbone | None,
    step: Step,
    judge: Callable[[Retrained], None] | None = None,
    already: Store | None = None,
) -> Store:
    """Install a bundle and return the home's open database. Args, Raises: as in `edge.learner.Learner.init`.

    Args:
        judge: is given the bundle's first head, compared with the one that serves as `retrain` does, before anything is
            kept: what it raises leaves all as it was. None: the head serves in any case.
        already: the home's database, if it is open already; it stays open. A second one would wait for the first, where
            an error of the disk made `open_store` open it for one alone.
    """
    opened = archive.read(path)
    known = pins_of(home) if already is None else pins(already)
    known.plus(trust).check(opened)  # before anything in it is looked at
    opened.verify()
    for label in labels:
        if label not in opened.manifest.labels:
            raise LabelError(
                "label-unknown", f"{path} has no label '{label}'; its labels are: {', '.join(opened.manifest.labels)}"
            )
    model = _choose(opened.manifest, path, format, precision, network is None)
    if network is not None:
        golden = opened.golden()
        parity.prove(network, golden.images, golden.embeddings, model.precision, "the network given")
    else:
        _prove_here(opened, model)

    name = _name(path)
    store = already or open_store(home, create=True)
    opening = Home(home, clock, store=store)
    copy, info = home / name, opened.manifest.backbone

    def open_network() -> backbone.Backbone:
        if network is not None:
            return network
        return backbone.open_backbone(opened.entry(model.file), backbone.find_runtime({model.format}), threads=1)

    try:
        check_crops(store, info, path)
        with store.transaction():  # noted first: only what is noted as ours is ever deleted
            _claim(store, copy)
        again = embed_crops(store, open_network, info, {}, step)  # which takes long: others go on teaching meanwhile
        with store.transaction():  # the copy too: of two that adopt at once, neither deletes the other's
            _claim(store, copy)
            trusted = pins(store).plus(trust)
            trusted.check(opened)  # again: a key may have been pinned since
            check_crops(store, info, path)  # again: more may have been taught meanwhile
            for number, embedding in embed_crops(store, open_network, info, again, step).items():
                store.put_embedding(number, embedding, info.fingerprint)
            put_pins(store, trusted.adopted(opened))
            before = _labels_before(opening, name, opened.manifest)
            _copy(opened, copy)
            store.put("bundle", name)
            store.put("format", model.format)
            store.put("precision", model.precision)
            if keep_crops is not None:
                store.put("keep_crops", str(int(keep_crops)))
            adopt_factory_labels(store, before, opened.manifest.labels, labels)
            first = _first_head(opening, path, judge is None)
            if judge is not None:
                judge(first)
        with contextlib.suppress(EdgeError, OSError):  # it serves; what is left over costs room alone
            delete_leftovers(opening)
    except BaseException:
        with contextlib.suppress(EdgeError, OSError):
            _delete_copy(store, copy)
        if already is None:
            store.close()
        raise
    return store


def _first_head(home: Home, path: Path, force: bool) -> Retrained:
    """Train the bundle's first head here; if labels that were forgotten are missing for it, say how to restore them."""
    try:
        return refit(home, force)
    except NotEnough as error:
        labels, here = home.bundle.manifest.labels, factory_labels(home.store)
        forgotten = [label for label, name in zip(labels, here, strict=True) if name is None]
        if not forgotten or not force:  # a release of the fleet has no file that people could install
            raise
        verb = "was" if len(forgotten) == 1 else "were"
        back = " ".join(f"--restore-label {shlex.quote(label)}" for label in forgotten)
        raise NotEnough(
            error.code,
            f"nothing was installed: too few labels of {path} are left, because {', '.join(map(repr, forgotten))} "
            f"{verb} forgotten here; to restore, run: edge init {quoted(path)} {back}",
        ) from error


def _choose(manifest: Manifest, path: Path, format: str | None, precision: str | None, needed: bool) -> ModelFile:
    """Choose the model that an installed runtime can run; without a runtime, and if none is `needed`, the first one."""
    fitting = [m for m in manifest.models if format in (None, m.format) and precision in (None, m.precision)]
    if not fitting:
        wanted = " ".join(word for word in (format, precision) if word)
        held = ", ".join(f"{m.format} {m.precision}" for m in manifest.models)
        raise BundleError("bundle-lacks-model", f"{path} contains no {wanted} model, only {held}; choose one of these")
    fitting = most_precise(fitting)
    try:
        runs = backbone.find_runtime({m.format for m in fitting}).format
    except RuntimeMissing:
        if needed:
            raise
        return fitting[0]
    return next(m for m in fitting if m.format == runs)


def _prove_here(opened: Bundle, model: ModelFile) -> None:
    """Run the golden pictures on this machine, once per process.

    Raises:
        RuntimeMissing, BundleError, ParityError: as in `find_runtime` and `sandbox.prove`.
    """
    runtime = backbone.find_runtime({model.format})
    once = (runtime.name, model, opened.manifest.files[model.file].sha256, opened.manifest.files["golden.npz"].sha256)
    if once not in _proved:
        sandbox.prove(runtime, opened, model.file)
        _proved.add(once)


def _labels_before(home: Home, name: str, manifest: Manifest) -> Sequence[str] | None:
    """The labels of the bundle installed so far, if there is one that can be read or is the same as this one."""
    adopted = home.recall("bundle")
    if adopted == name:
        return manifest.labels
    with contextlib.suppress(EdgeError):
        return home.bundle.manifest.labels if adopted else None
    return None


def _name(path: Path) -> str:
    """The name of a bundle's copy, made from its content."""
    with disk_errors_as(BundleError, "file-unreadable", f"{path} cannot be read", "check the path"):
        return sha256(path)[:16] + ".edge"


def _claim(store: Store, copy: Path) -> None:
    """Record the bundle's copy as ours, as part of the caller's transaction.

    Raises:
        HomeError: a file of that name exists, is not ours, and has other contents.
    """
    ours = own_bundles(store)
    theirs = copy.name not in ours and copy.exists()
    if theirs and not _holds_what_its_name_says(copy):  # if it does, it is used, and never deleted
        raise HomeError(
            "home-foreign", f"{copy} exists and does not belong to this home; move it away, or choose another --home"
        )
    put_own_bundles(store, ours if theirs else [*ours, copy.name])


def _holds_what_its_name_says(copy: Path) -> bool:
    with contextlib.suppress(OSError):
        return sha256(copy).startswith(copy.stem)
    return False


def _delete_copy(store: Store, copy: Path) -> None:
    """Delete the copy of a bundle that could not be installed."""
    with store.transaction():
        if copy.name in own_bundles(store) and store.get("bundle") != copy.name:
            copy.unlink(missing_ok=True)


def _copy(opened: Bundle, target: Path) -> None:
    """Copy the bundle into the home and sync it, unless the same file is there already."""
    if _holds_what_its_name_says(target):
        return
    path = opened.path
    unwritten = f"{path} cannot be copied to {target.parent}"
    with (
        disk_errors_as(HomeError, "home-unwritable", unwritten, "free some space and try again"),
        replacing(target, 0o600) as partial,
    ):
        shutil.copyfile(path, partial)
        if not sha256(partial).startswith(target.stem) or archive.read(partial).text != opened.text:
            raise BundleError(
                "file-changed", f"{path} changed while it was being read; wait until it is complete, then try again"
            )
