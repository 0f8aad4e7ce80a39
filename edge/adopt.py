"""`init`: make a home of a bundle, or give a home a newer one.

The bundle is verified whole, its golden pictures are run on this very machine, in a process of their own, and only then
is it copied beside the database and named there, in one transaction with its first head: a power cut leaves the old
state or the new.
"""

import contextlib
import shutil
from pathlib import Path

from edge import backbone, bundle, trial
from edge.bundle import Bundle
from edge.errors import BundleError, EdgeError, HomeError
from edge.factory import put_factory_labels
from edge.files import replacing, sha256
from edge.home import Clock, utc_now
from edge.learner import Learner
from edge.manifest import Manifest, ModelFile, most_precise
from edge.pinned import pins, pins_of, put_pins
from edge.retrain import refit
from edge.signature import Key
from edge.store import open_store
from edge.verify import delete_leftovers

_proved: set[tuple[str, ModelFile, str, str]] = set()  # runtime, model and hashes that this process has seen pass


def adopt(
    home: Path,
    path: Path,
    format: str | None = None,
    precision: str | None = None,
    keep_crops: bool | None = None,
    clock: Clock = utc_now,
    trust: Key | None = None,
) -> Learner:
    """Adopt a bundle and return the learner that serves it.

    Args:
        home: the folder; made if there is none.
        path: the bundle.
        format: "onnx" or "tflite"; None: what an installed runtime can run.
        precision: "fp32" or "int8"; None: fp32 where the bundle has it.
        keep_crops: keep a small JPEG of what the network sees of each picture taught; None: as it was, at first no.
        clock: tells the time for what is stored.
        trust: a key to pin from now on; the bundle must be signed by it, or by one pinned already.

    Raises:
        BundleError, ParityError: the bundle is refused, by name of what is wrong.
        SignatureError: a key is pinned, and the bundle is not signed by one that is, or is older.
        RuntimeMissing: nothing here can run it, or check its signature.
        HomeError: the home cannot be used, or was taught on another backbone.
    """
    opened = bundle.read(path)
    pins_of(home).plus(trust).check(opened)  # before anything in it is looked at
    opened.verify()
    model, runtime = _choose(opened.manifest, path, format, precision)
    once = (runtime.name, model, opened.manifest.files[model.file].sha256, opened.manifest.files["golden.npz"].sha256)
    if once not in _proved:
        trial.prove(runtime, opened, model.file)
        _proved.add(once)

    store = open_store(home, create=True)
    learner = Learner(home, store, clock)
    try:
        fingerprint = opened.manifest.backbone.fingerprint
        with store.transaction():  # the copy too: of two that adopt at once, neither deletes the other's
            trusted = pins(store).plus(trust)
            trusted.check(opened)  # again: a key may have been pinned since
            foreign = store.examples("backbone != ?", fingerprint)
            if foreign:
                raise HomeError(
                    f"{home} holds {len(foreign)} examples taught on another backbone, their embeddings do not fit "
                    f"'{opened.manifest.backbone.name}' of {path}; choose another --home and teach them again"
                )
            put_pins(store, trusted.adopted(opened))
            store.put("bundle", _copy(opened, home).name)
            store.put("format", model.format)
            store.put("precision", model.precision)
            if keep_crops is not None:
                store.put("keep_crops", str(int(keep_crops)))
            put_factory_labels(store, opened.manifest.labels)
            refit(learner, force=True)
        with contextlib.suppress(EdgeError, OSError):  # it serves; what is left over costs room alone
            delete_leftovers(learner)
    except BaseException:
        store.close()
        raise
    return learner


def _choose(
    manifest: Manifest, path: Path, format: str | None, precision: str | None
) -> tuple[ModelFile, backbone.Runtime]:
    """Pick the file to run and the runtime that runs it."""
    fitting = [m for m in manifest.models if format in (None, m.format) and precision in (None, m.precision)]
    if not fitting:
        wanted = " ".join(word for word in (format, precision) if word)
        held = ", ".join(f"{m.format} {m.precision}" for m in manifest.models)
        raise BundleError(f"{path} holds no {wanted} model, it holds {held}; choose one of these")
    fitting = most_precise(fitting)
    runtime = backbone.find_runtime({m.format for m in fitting})
    return next(m for m in fitting if m.format == runtime.format), runtime


def _copy(opened: Bundle, home: Path) -> Path:
    """Copy the bundle into the home under a name of its content, synced; a copy that is there already is left."""
    path = opened.path
    name = sha256(path)[:16] + ".edge"
    try:
        with replacing(home / name) as partial:
            shutil.copyfile(path, partial)
            partial.chmod(0o600)
            if bundle.read(partial).text != opened.text:  # what was checked must be what is kept
                raise BundleError(f"{path} changed while it was read; try again when it is whole")
    except OSError as error:
        raise HomeError(
            f"{path} cannot be copied to {home} ({error.strerror}); free some space and try again"
        ) from error
    return home / name
