"""The bundle: the one file (`kitchen.edge`) that the workstation makes and the device runs.

A bundle is a zip file with uncompressed entries, so it is read in place, without extracting it:

| entry | contents |
|---|---|
| manifest.json | `Manifest`: names, labels, parity results, and size and SHA-256 of every other entry |
| manifest.sig | signature over manifest.json (edge/bundle/signature.py); optional |
| backbone.onnx, backbone.int8.onnx, backbone.tflite, backbone.int8.tflite | the network, in the requested forms |
| golden.npz | `images` uint8 (G, S, S, 3), `embeddings` float32 (G, D) that each device must reproduce |
| examples.npz | `embeddings` float16 (N, D), `labels` int32 (N,), `trained_on` uint8 (N,): the factory's examples; |
| | `groups` int32 (N,), equal for photos that are left out together, −1 for a single photo; optional |
| | in a fleet's bundle, from format 3: `embeddings` float32, exactly on the grid of edge/head/moments.py; |
| | `devices` int32 (N,): the device that taught each, as an index into the manifest's devices, −1 for the |
| | workstation; `images` uint8 (N, 32): SHA-256 of each picture, zeros if unknown |
| background.npz | `mean`, `values`, `rest` float32 (D,), (R,), (1,), `basis` float16 (R, D): `unknown.gate`; optional |
| domain.npz | `quantiles` float32 (5, 3), edge/unknown/domain.py; `thumbs` uint8 (N, 8, 8, 3) of the photos; optional |

Everything in a bundle is checked before it is used: structure and limits when the bundle is opened, before anything
large is read; an entry's SHA-256 when that entry is read; all entries in `verify`. Pickle is never used: arrays are
read according to their `.npy` header, whose type and shape must be the expected ones.

Source: PKWARE's APPNOTE (zip) and `numpy.lib.format` (npy); limits before reading, as safetensors does.
"""

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle.card import card
from edge.bundle.container import Arrays, damaged, directory, found, npz, read_entry, stored
from edge.bundle.manifest import SIGNATURE, FileEntry, Manifest, format_of, invalid, parse
from edge.bundle.stored import Opened, Stored, Window
from edge.errors import BundleError
from edge.files import replacing
from edge.head.matrix import chunks
from edge.unknown.domain import QUANTILES, STATISTICS, THUMB, Domain
from edge.unknown.gate import Background

MAX_MANIFEST = 4_000_000  # bytes
MAX_SIGNATURE = 10_000  # bytes
_LEAST, _MOST = 2.0**-4, 2.0**15  # range of an embedding's largest value within which it is rounded to float16 unscaled
_EXPONENT = 13  # otherwise it is scaled to between 2¹² and 2¹³


@dataclass(frozen=True)
class Golden:
    """A few pictures, uint8 (G, S, S, 3), with PyTorch's embeddings of them, float32 (G, D)."""

    images: NDArray[np.uint8]
    embeddings: NDArray[np.float32]


@dataclass(frozen=True)
class FactoryExamples:
    """The workstation's embeddings (N, D) with indices into the manifest's labels (N,).

    `trained_on` (N,) marks those that the backbone was adapted on: the head is fitted to them, but accuracy is not
    measured on them. `groups` (N,) has the same number for all photos of a burst, which are left out together, and −1
    for a single photo (the default). `devices` (N,) has the device that taught each, as an index into the manifest's
    devices, −1 for the workstation. `images` (N, 32) is the SHA-256 of each picture, zeros if unknown.
    """

    embeddings: NDArray[np.float32] | Stored
    labels: NDArray[np.int32]
    trained_on: NDArray[np.bool_]
    groups: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    devices: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    images: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 32), np.uint8))

    def __post_init__(self) -> None:
        n = len(self.labels)
        if not len(self.groups):
            object.__setattr__(self, "groups", np.full(n, -1, np.int32))
        if not len(self.devices):
            object.__setattr__(self, "devices", np.full(n, -1, np.int32))
        if not len(self.images):
            object.__setattr__(self, "images", np.zeros((n, 32), np.uint8))


@dataclass(frozen=True)
class FactoryDomain:
    """What the factory's photos look like: their domain, and thumbnails (N, 8, 8, 3) of the N examples."""

    domain: Domain
    thumbs: NDArray[np.uint8]


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest, and its entries on demand.

    `text` is the manifest's exact text, which the `signature`, if there is one, was made over.
    """

    path: Path
    manifest: Manifest
    text: bytes = field(repr=False)
    signature: bytes | None = field(repr=False)

    def entry(self, name: str) -> bytes:
        """Return an entry's bytes after checking their SHA-256.

        Raises:
            BundleError: the entry is missing or was changed.
        """
        if name not in self.manifest.files:
            raise BundleError(
                "bundle-lacks-model", f"{self.path} contains no {name}, only {', '.join(sorted(self.manifest.files))}"
            )
        return read_entry(self.path, name, self.manifest.files[name])

    def golden(self) -> Golden:
        """Return the golden pictures and embeddings."""
        info = self.manifest.backbone
        arrays = self._arrays("golden.npz")
        images = arrays.take("images", np.uint8, (None, info.input_size, info.input_size, 3))
        embeddings = arrays.take("embeddings", np.float32, (len(images), info.dimension))
        if not len(images):
            raise BundleError("bundle-lacks-model", f"{self.path} contains no golden pictures; build it again")
        return Golden(images, embeddings)

    def examples(self) -> FactoryExamples:
        """Return the factory's examples."""
        found = self.stored_examples()
        return dataclasses.replace(found, embeddings=found.embeddings[:])

    def stored_examples(self) -> FactoryExamples:
        """Return the factory's examples without reading their embeddings, which may not fit into memory."""
        file = Opened(self.path)
        start, size = found(file, "examples.npz", self.manifest.files.get("examples.npz"))
        arrays = Arrays(f"{self.path}: examples.npz", Window(file, start, size), size)
        place = arrays.find("embeddings", (np.float16, np.float32), (None, self.manifest.backbone.dimension))
        name = f"{self.path}: examples.npz: embeddings"
        shape = (place.shape[0], place.shape[1])
        embeddings = Stored(file, start + place.offset, shape, name, kind=place.dtype.str)
        n = len(embeddings)
        labels, trained_on = arrays.take("labels", np.int32, (n,)), arrays.take("trained_on", np.uint8, (n,))
        optional = (("groups", np.int32, (n,)), ("devices", np.int32, (n,)), ("images", np.uint8, (n, 32)))
        held = {key: arrays.take(key, dtype, shape) for key, dtype, shape in optional if arrays.holds(key)}
        examples = FactoryExamples(embeddings, labels, trained_on.astype(np.bool_), **held)
        if n and (labels.min() < 0 or labels.max() >= len(self.manifest.labels)):
            raise invalid(
                f"{self.path}: an example's label is not one of the {len(self.manifest.labels)} labels; build it again"
            )
        if n and examples.groups.min() < -1:
            raise invalid(
                f"{self.path}: an example's group is {examples.groups.min()}, but must be at least −1; build it again"
            )
        if n and (examples.devices.min() < -1 or examples.devices.max() >= len(self.manifest.devices)):
            raise invalid(
                f"{self.path}: an example's device is not one of the {len(self.manifest.devices)} devices; merge again"
            )
        return examples

    def background(self) -> Background | None:
        """Return the generic pictures' statistics, or None if the bundle has none."""
        if "background.npz" not in self.manifest.files:
            return None
        arrays = self._arrays("background.npz")
        d = self.manifest.backbone.dimension
        basis = arrays.take("basis", np.float16, (None, d))
        values, rest = arrays.take("values", np.float32, (len(basis),)), arrays.take("rest", np.float32, (1,))
        if (values < 0).any() or rest[0] < 0 or values.sum() + rest[0] <= 0:
            raise invalid(f"{self.path}: background.npz: values are not variances; build the bundle again")
        return Background(arrays.take("mean", np.float32, (d,)), basis, values, float(rest[0]))

    def domain(self) -> FactoryDomain | None:
        """Return what the factory's photos look like, or None if the bundle does not contain it."""
        if "domain.npz" not in self.manifest.files:
            return None
        arrays = self._arrays("domain.npz")
        quantiles = arrays.take("quantiles", np.float32, (len(STATISTICS), len(QUANTILES)))
        return FactoryDomain(Domain(quantiles), arrays.take("thumbs", np.uint8, (None, THUMB, THUMB, 3)))

    def verify(self) -> None:
        """Read and check everything: every hash, and the type, shape and finiteness of every array.

        Raises:
            BundleError: something is wrong; the message says what.
        """
        self.golden()
        examples = self.stored_examples()
        for part in chunks(len(examples.labels)):
            examples.embeddings[part]
        self.background()
        domain = self.domain()
        if domain is not None and len(domain.thumbs) != len(examples.labels):
            raise invalid(
                f"{self.path}: domain.npz: the number of thumbnails differs from that of examples; build the "
                "bundle again"
            )
        for model in self.manifest.models:
            found(Opened(self.path), model.file, self.manifest.files[model.file])

    def _arrays(self, name: str) -> "Arrays":
        data = self.entry(name)
        return Arrays(f"{self.path}: {name}", io.BytesIO(data), len(data))


def read(path: Path | str) -> Bundle:
    """Open a bundle: check its structure, limits and manifest, reading nothing large.

    Returns:
        The bundle; entries are read, and their hashes checked, on demand. `verify()` checks them all at once.

    Raises:
        BundleError: the file is missing, empty, cut short, not a bundle, of a newer format, or invalid.
    """
    path = Path(path)
    opened = Opened(path)
    file = Window(opened, 0, opened.size)
    infos = directory(path, file)
    if "manifest.json" not in infos:
        raise BundleError("bundle-foreign", f"{path} contains no manifest.json; it is not a bundle of edge-transfer")
    if infos["manifest.json"].file_size > MAX_MANIFEST:
        raise invalid(f"{path}: manifest.json is larger than {MAX_MANIFEST} bytes; build the bundle again")
    if SIGNATURE in infos and infos[SIGNATURE].file_size > MAX_SIGNATURE:
        raise invalid(f"{path}: {SIGNATURE} is larger than {MAX_SIGNATURE} bytes; sign the bundle again")
    text = stored(path, file, infos["manifest.json"])
    signature = stored(path, file, infos[SIGNATURE]) if SIGNATURE in infos else None
    manifest = parse(path, text)
    present = {name: info.file_size for name, info in infos.items() if name not in ("manifest.json", SIGNATURE)}
    for name in sorted(set(present) ^ set(manifest.files)):
        where = "the manifest does not list it" if name in present else "it is missing"
        raise damaged(f"{path}: {name}: {where}; copy or build the bundle again")
    for name, entry in manifest.files.items():
        if present[name] != entry.size:
            raise damaged(
                f"{path}: {name} has {present[name]} bytes, but the manifest says {entry.size}; copy it again"
            )
    return Bundle(path, manifest, text, signature)


def write(
    path: Path,
    manifest: Manifest,
    models: Mapping[str, bytes],
    golden: Golden,
    examples: FactoryExamples,
    background: Background | None = None,
    domain: FactoryDomain | None = None,
) -> Bundle:
    """Write a bundle whole or not at all (a temporary file beside it, synced, then renamed), and open it.

    Args:
        path: the file to write; an existing file is replaced.
        manifest: the manifest; its `files`, `format`, `reader` and `card` are filled in here.
        models: the model files' bytes, by the entry names in `manifest.models`.
        golden, examples, background, domain: the arrays. Embeddings of examples are rounded to float16, or kept in
            float32 if the manifest names devices.

    Raises:
        BundleError: the result could not be read back.
        OSError: the file cannot be written.
    """
    entries = {model.file: models[model.file] for model in manifest.models}
    entries["golden.npz"] = npz(images=golden.images, embeddings=golden.embeddings.astype(np.float32))
    groups = {"groups": examples.groups.astype(np.int32)} if (examples.groups >= 0).any() else {}
    whose: dict[str, NDArray[np.int32] | NDArray[np.uint8]] = {}
    if manifest.devices:
        whose = {"devices": examples.devices.astype(np.int32), "images": examples.images.astype(np.uint8)}
    rows = np.asarray(examples.embeddings, np.float32)
    entries["examples.npz"] = npz(
        embeddings=rows if whose else halves(rows),
        labels=examples.labels.astype(np.int32),
        trained_on=examples.trained_on.astype(np.uint8),
        **groups,
        **whose,
    )
    if background is not None:
        entries["background.npz"] = npz(
            mean=background.mean.astype(np.float32),
            basis=background.basis.astype(np.float16),
            values=background.values.astype(np.float32),
            rest=np.array([background.rest], np.float32),
        )
    if domain is not None:
        entries["domain.npz"] = npz(
            quantiles=domain.domain.quantiles.astype(np.float32), thumbs=domain.thumbs.astype(np.uint8)
        )
    table = {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in entries.items()}
    number = format_of(manifest)
    whole = dataclasses.replace(manifest, files=table, signed=None, format=number, reader=number)
    text = _text(dataclasses.replace(whole, card=described(whole, examples)))
    parse(path, text)
    return _written(path, {"manifest.json": text, **entries})


def described(manifest: Manifest, examples: FactoryExamples) -> str:
    """Make a bundle's card from its manifest and examples, also for older bundles that contain none."""
    counts = np.bincount(examples.labels, minlength=len(manifest.labels)).tolist()
    return card(manifest, counts, int(np.count_nonzero(examples.trained_on)))


def halves(embeddings: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round embeddings (N, D) to float16 for a bundle.

    Rows whose largest value does not suit float16 (below 0.06 or above 32,768) are first multiplied by a power of two,
    which keeps their direction, all that matters. Other rows are rounded without scaling.

    Raises:
        BundleError: a value is not finite.

    >>> halves(np.array([[3.0, 4.0], [3e5, 4e5], [3e-8, 4e-8]], np.float32)).tolist()
    [[3.0, 4.0], [4688.0, 6248.0], [4124.0, 5496.0]]
    """
    rows = np.asarray(embeddings, np.float64)
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise invalid(
            f"examples.npz: embeddings contains NaN or infinity in row {row} of {len(rows)}; use other weights"
        )
    largest = np.abs(rows).max(axis=1, initial=0.0)
    far = (largest > 0) & ((largest < _LEAST) | (largest > _MOST))
    scaled = np.ldexp(rows, np.where(far, _EXPONENT - np.frexp(largest)[1], 0)[:, None])
    return scaled.astype(np.float16)


def sign(bundle: Bundle, when: str, signature_of: Callable[[bytes], bytes]) -> Bundle:
    """Rewrite a bundle in place, whole or not at all, with a signature over its manifest.

    Args:
        bundle: the bundle to sign; an older signature is replaced.
        when: the time for the manifest, ISO 8601 with its offset from UTC.
        signature_of: takes the manifest's bytes and returns the contents of manifest.sig.

    Raises:
        BundleError: the bundle is damaged, and is therefore not signed.
        OSError: the file cannot be written.
    """
    bundle.verify()
    text = _text(dataclasses.replace(bundle.manifest, signed=when))
    parse(bundle.path, text)
    entries = {name: bundle.entry(name) for name in bundle.manifest.files}
    return _written(bundle.path, {"manifest.json": text, SIGNATURE: signature_of(text), **entries})


def _text(manifest: Manifest) -> bytes:
    return json.dumps(dataclasses.asdict(manifest), indent=1, ensure_ascii=False).encode()


def _written(path: Path, entries: Mapping[str, bytes]) -> Bundle:
    with replacing(path) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, data in entries.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # a fixed date: same content, same bytes
        bundle = read(partial)
        bundle.verify()
    return dataclasses.replace(bundle, path=path)
