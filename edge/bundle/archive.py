"""The bundle: the one file (`kitchen.edge`) that the workstation ships and the device runs.

A zip whose entries are stored, not compressed, so that it is read in place, without extracting:

| entry | holds |
|---|---|
| manifest.json | `Manifest`: names, labels, parity results, and size and SHA-256 of every other entry |
| manifest.sig | who signed manifest.json: edge/bundle/signature.py; optional |
| backbone.onnx, backbone.int8.onnx, backbone.tflite, backbone.int8.tflite | the network, in the forms asked for |
| golden.npz | `images` uint8 (G, S, S, 3), `embeddings` float32 (G, D): what each device must reproduce |
| examples.npz | `embeddings` float16 (N, D), `labels` int32 (N,), `trained_on` uint8 (N,): the factory's examples; |
| | `groups` int32 (N,), equal for photos that are left out together, −1 where one stands alone; optional |
| | of a fleet, from format 3: `embeddings` float32, on the grid of edge/head/moments.py, so that they are exact; |
| | `devices` int32 (N,): who taught each, an index into the manifest's devices, −1: the workstation; `images` |
| | uint8 (N, 32): SHA-256 of its picture, zeros where that is not known |
| background.npz | `mean`, `values`, `rest` float32 (D,), (R,), (1,), `basis` float16 (R, D): `unknown.gate`; optional |
| domain.npz | `quantiles` float32 (5, 3), edge/unknown/domain.py; `thumbs` uint8 (N, 8, 8, 3) of the photos; optional |

Nothing in a bundle is believed before it is checked: structure and limits when it is opened, before anything large is
read; each entry's SHA-256 when that entry is read; all of them in `verify`. No pickle: arrays are read by their `.npy`
header, whose type and shape must be the expected ones.

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
from edge.bundle.container import Arrays, directory, found, npz, read_entry, stored
from edge.bundle.manifest import SIGNATURE, FileEntry, Manifest, format_of, parse
from edge.bundle.stored import Opened, Stored, Window
from edge.errors import BundleError
from edge.files import replacing
from edge.head.pool import chunks
from edge.unknown.domain import QUANTILES, STATISTICS, THUMB, Domain
from edge.unknown.gate import Background

MAX_MANIFEST = 4_000_000  # bytes
MAX_SIGNATURE = 10_000  # bytes
_LEAST, _MOST = 2.0**-4, 2.0**15  # of the largest value of an embedding that is rounded to float16 as it is
_EXPONENT = 13  # else it is brought to between 2¹² and 2¹³


@dataclass(frozen=True)
class Golden:
    """A few pictures with the embeddings that PyTorch gave for them: uint8 (G, S, S, 3), float32 (G, D)."""

    images: NDArray[np.uint8]
    embeddings: NDArray[np.float32]


@dataclass(frozen=True)
class FactoryExamples:
    """The workstation's embeddings (N, D) with indices into the manifest's labels (N,).

    `trained_on` (N,) marks those that the backbone's adaptation saw: they teach, but count in no figure. `groups` (N,)
    has one number for all photos of a burst, which are left out together, and −1 for one that stands alone, as all do
    where nothing is said. `devices` (N,) says who taught each, by an index into the manifest's devices, −1 for the
    workstation; `images` (N, 32) is the SHA-256 of each picture, zeros where that is not known.
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
    """What the factory's photos look like: their domain, and the thumbnails (N, 8, 8, 3) of its N examples."""

    domain: Domain
    thumbs: NDArray[np.uint8]


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest, and its entries on demand.

    `text` is the manifest as it stands there, which is what the `signature` is of, if there is one.
    """

    path: Path
    manifest: Manifest
    text: bytes = field(repr=False)
    signature: bytes | None = field(repr=False)

    def entry(self, name: str) -> bytes:
        """Return an entry's bytes, their SHA-256 checked.

        Raises:
            BundleError: there is no such entry, or it was changed.
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
        """Return the factory's examples, their embeddings not read yet, as there may be more than memory holds."""
        file = Opened(self.path)
        start, size = found(file, "examples.npz", self.manifest.files.get("examples.npz"))
        arrays = Arrays(f"{self.path}: examples.npz", Window(file, start, size), size)
        place = arrays.find("embeddings", (np.float16, np.float32), (None, self.manifest.backbone.dimension))
        name = f"{self.path}: examples.npz: embeddings"
        shape = (place.shape[0], place.shape[1])
        embeddings = Stored(file, start + place.offset, shape, name, kind=place.dtype.str)
        n = len(embeddings)
        labels, trained_on = arrays.take("labels", np.int32, (n,)), arrays.take("trained_on", np.uint8, (n,))
        groups = arrays.take("groups", np.int32, (n,)) if arrays.holds("groups") else np.full(n, -1, np.int32)
        if len(labels) and (labels.min() < 0 or labels.max() >= len(self.manifest.labels)):
            raise BundleError(
                "bundle-invalid",
                f"{self.path}: an example's label is not one of the {len(self.manifest.labels)} labels; build it again",
            )
        if len(groups) and groups.min() < -1:
            raise BundleError(
                "bundle-invalid",
                f"{self.path}: an example's group is {groups.min()}, but must be at least −1; build it again",
            )
        devices = arrays.take("devices", np.int32, (n,)) if arrays.holds("devices") else np.full(n, -1, np.int32)
        if len(devices) and (devices.min() < -1 or devices.max() >= len(self.manifest.devices)):
            raise BundleError(
                "bundle-invalid",
                f"{self.path}: an example's device is not one of the {len(self.manifest.devices)} devices; merge again",
            )
        images = arrays.take("images", np.uint8, (n, 32)) if arrays.holds("images") else np.zeros((n, 32), np.uint8)
        return FactoryExamples(embeddings, labels, trained_on.astype(np.bool_), groups, devices, images)

    def background(self) -> Background | None:
        """Return the generic pictures' statistics, or None where the bundle has none."""
        if "background.npz" not in self.manifest.files:
            return None
        arrays = self._arrays("background.npz")
        d = self.manifest.backbone.dimension
        basis = arrays.take("basis", np.float16, (None, d))
        values, rest = arrays.take("values", np.float32, (len(basis),)), arrays.take("rest", np.float32, (1,))
        if (values < 0).any() or rest[0] < 0 or values.sum() + rest[0] <= 0:
            raise BundleError(
                "bundle-invalid", f"{self.path}: background.npz: values are not variances; build the bundle again"
            )
        return Background(arrays.take("mean", np.float32, (d,)), basis, values, float(rest[0]))

    def domain(self) -> FactoryDomain | None:
        """Return what the factory's photos look like, or None where the bundle does not say."""
        if "domain.npz" not in self.manifest.files:
            return None
        arrays = self._arrays("domain.npz")
        quantiles = arrays.take("quantiles", np.float32, (len(STATISTICS), len(QUANTILES)))
        return FactoryDomain(Domain(quantiles), arrays.take("thumbs", np.uint8, (None, THUMB, THUMB, 3)))

    def verify(self) -> None:
        """Read and check everything: every hash, every array's type, shape and finiteness.

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
            raise BundleError(
                "bundle-invalid",
                f"{self.path}: domain.npz: the number of thumbnails differs from that of examples; build the "
                "bundle again",
            )
        for model in self.manifest.models:
            found(Opened(self.path), model.file, self.manifest.files[model.file])

    def _arrays(self, name: str) -> "Arrays":
        data = self.entry(name)
        return Arrays(f"{self.path}: {name}", io.BytesIO(data), len(data))


def read(path: Path | str) -> Bundle:
    """Open a bundle: check its structure, limits and manifest, reading nothing large.

    Args:
        path: the bundle file.

    Returns:
        The bundle; entries are read, and their hashes checked, on demand. `verify()` checks them all at once.

    Raises:
        BundleError: it is missing, empty, cut short, no bundle, of a newer format, or says something impossible.
    """
    path = Path(path)
    opened = Opened(path)
    file = Window(opened, 0, opened.size)
    infos = directory(path, file)
    if "manifest.json" not in infos:
        raise BundleError("bundle-foreign", f"{path} contains no manifest.json; it is not a bundle of edge-transfer")
    if infos["manifest.json"].file_size > MAX_MANIFEST:
        raise BundleError(
            "bundle-invalid", f"{path}: manifest.json is larger than {MAX_MANIFEST} bytes; build the bundle again"
        )
    if SIGNATURE in infos and infos[SIGNATURE].file_size > MAX_SIGNATURE:
        raise BundleError(
            "bundle-invalid", f"{path}: {SIGNATURE} is larger than {MAX_SIGNATURE} bytes; sign the bundle again"
        )
    text = stored(path, file, infos["manifest.json"])
    signature = stored(path, file, infos[SIGNATURE]) if SIGNATURE in infos else None
    manifest = parse(path, text)
    present = {name: info.file_size for name, info in infos.items() if name not in ("manifest.json", SIGNATURE)}
    for name in sorted(set(present) ^ set(manifest.files)):
        where = "the manifest does not list it" if name in present else "it is missing"
        raise BundleError("bundle-damaged", f"{path}: {name}: {where}; copy or build the bundle again")
    for name, entry in manifest.files.items():
        if present[name] != entry.size:
            raise BundleError(
                "bundle-damaged",
                f"{path}: {name} has {present[name]} bytes, but the manifest says {entry.size}; copy it again",
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
        path: where; an existing file is replaced.
        manifest: all but `files`, `format`, `reader` and `card`, which are filled in here.
        models: bytes by entry name; the names of `manifest.models`.
        golden, examples, background, domain: the arrays; embeddings of examples are rounded to float16, or where the
            manifest names devices, kept in float32.

    Raises:
        BundleError: what is to be written would not be read back.
        OSError: the disk refuses.
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
    """Return the card of a bundle, whether or not it brings one."""
    counts = np.bincount(examples.labels, minlength=len(manifest.labels)).tolist()
    return card(manifest, counts, int(np.count_nonzero(examples.trained_on)))


def halves(embeddings: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round embeddings (N, D) to float16 as a bundle holds them.

    Rows whose largest value float16 cannot hold well (below 0.06 or above 32,768) are first multiplied by a power of
    two: their direction, which is all that counts, stays. Others are rounded as they are.

    Raises:
        BundleError: a value is not finite.

    >>> halves(np.array([[3.0, 4.0], [3e5, 4e5], [3e-8, 4e-8]], np.float32)).tolist()
    [[3.0, 4.0], [4688.0, 6248.0], [4124.0, 5496.0]]
    """
    rows = np.asarray(embeddings, np.float64)
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise BundleError(
            "bundle-invalid",
            f"examples.npz: embeddings contains NaN or infinity in row {row} of {len(rows)}; use other weights",
        )
    largest = np.abs(rows).max(axis=1, initial=0.0)
    far = (largest > 0) & ((largest < _LEAST) | (largest > _MOST))
    scaled = np.ldexp(rows, np.where(far, _EXPONENT - np.frexp(largest)[1], 0)[:, None])
    return scaled.astype(np.float16)


def sign(bundle: Bundle, when: str, signature_of: Callable[[bytes], bytes]) -> Bundle:
    """Write a bundle again in its place, whole or not at all, with a signature over its manifest.

    Args:
        bundle: it; an older signature is replaced.
        when: ISO 8601 with its offset from UTC, for the manifest.
        signature_of: given the manifest's bytes, returns what goes into manifest.sig.

    Raises:
        BundleError: it is damaged; nothing that is not whole is signed.
        OSError: the disk refuses.
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


# reading the zip ------------------------------------------------------------------------------------------------


# arrays -----------------------------------------------------------------------------------------------------------
