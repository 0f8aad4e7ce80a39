"""The manifest of a bundle: manifest.json as dataclasses, and the parser that validates it.

Every field must be present, of the right type and valid, or the bundle is refused and the field is named. Unknown
fields from later versions are ignored. `format` is the version of the layout, `reader` the oldest one a program must
support to use the bundle.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import edge
from edge.errors import BundleError, LabelError
from edge.labels import clean
from edge.metrics.figures import read_json

FORMAT = 3  # the newest format; bundles whose `reader` is at most this can be read
FITS = ("crop", "pad", "stretch")  # how a picture that is not square is made to fit; edge/picture/preprocess.py does it

MAX_SIDE = 1024  # pixels of input
MAX_DIMENSION = 8192
MAX_LABELS = 10_000
MAX_DEVICES = 100_000
MAX_TEXT = 100_000  # bytes: some licences are long
MAX_INTEGER = 1 << 53

MODEL_FILES = ("backbone.onnx", "backbone.int8.onnx", "backbone.tflite", "backbone.int8.tflite")
SIGNATURE = "manifest.sig"
ENTRIES = frozenset(
    {"manifest.json", SIGNATURE, "golden.npz", "examples.npz", "background.npz", "domain.npz", *MODEL_FILES}
)


@dataclass(frozen=True)
class BackboneInfo:
    """The frozen network, and how pictures are prepared for it."""

    name: str
    fingerprint: str  # SHA-256 over weights and preprocessing: embeddings are compared only where it is equal
    weights: str  # origin of the weights
    licence: str
    input_size: int  # pixels
    short_side: int  # pixels, before the centre square is cropped
    dimension: int  # D
    fit: str = dataclasses.field(default="crop", metadata={"since": 2})  # one of FITS; older bundles do not say


@dataclass(frozen=True)
class ModelFile:
    """One file of the network, and how closely its embeddings match PyTorch's."""

    file: str
    format: str  # "onnx" or "tflite"
    precision: str  # "fp32" or "int8"
    quantization: str  # "none", "weight-only", "static", or "as delivered"
    error: float  # largest difference over largest value
    cosine: float  # of the worst golden picture


@dataclass(frozen=True)
class Accuracy:
    """Fraction of validation photos classified correctly by a head not trained on them, with its 95 % interval."""

    accuracy: float
    low: float
    high: float
    photos: int


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 of one entry."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is in a bundle; `files` is filled in by `write`."""

    name: str
    created: str  # ISO 8601, UTC
    backbone: BackboneInfo
    labels: tuple[str, ...]
    models: tuple[ModelFile, ...]
    accuracy: Accuracy | None
    program: str = f"edge-transfer {edge.__version__}"
    format: int = 1  # filled in by `write`
    reader: int = 1  # filled in by `write`: the oldest format whose readers can use this bundle
    files: Mapping[str, FileEntry] = dataclasses.field(default_factory=dict)
    background: str | None = None  # a description of the pictures behind background.npz; None in older bundles
    devices: tuple[str, ...] = dataclasses.field(default=(), metadata={"since": 3})  # ids of devices with examples
    card: str | None = None  # filled in by `write` (edge/bundle/card.py); None in older bundles
    signed: str | None = None  # time of signing, ISO 8601, UTC; edge/home/trust.py checks whether the signer is trusted


def format_of(manifest: Manifest) -> int:
    """Return the oldest format whose readers can use a bundle.

    Readers of format 1 would crop every picture, and readers before format 3 do not know devices.
    """
    return 3 if manifest.devices else 1 if manifest.backbone.fit == "crop" else 2


def most_precise(models: Sequence[ModelFile]) -> list[ModelFile]:
    """Return the models at full precision, or all if there are none."""
    return [model for model in models if model.precision == "fp32"] or list(models)


def invalid(message: str) -> BundleError:
    """Return the error for something in a bundle that is as it was written, but that no bundle should hold."""
    return BundleError("bundle-invalid", message)


def parse(path: Path, data: bytes) -> Manifest:
    """Parse JSON into a `Manifest`, checking that every field has the right type and is valid."""
    try:
        raw = read_json(data)
    except ValueError as error:
        raise invalid(f"{path}: manifest.json is not valid JSON ({error}); build the bundle again") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("reader"), int):
        raise BundleError("bundle-foreign", f"{path}: manifest.json has no format; it is not a bundle of edge-transfer")
    if raw["reader"] > FORMAT:
        raise BundleError(
            "too-new",
            f"{path} has format {_shown(raw.get('format'))} for readers of {raw['reader']} and later, "
            f"but this version reads only {FORMAT}; upgrade edge-transfer",
        )
    manifest: Manifest = _typed(path, "manifest.json", Manifest, raw)
    info = manifest.backbone
    possible = {
        "input_size": 1 <= info.input_size <= MAX_SIDE,
        "short_side": info.input_size <= info.short_side <= 4 * MAX_SIDE,
        "dimension": 1 <= info.dimension <= MAX_DIMENSION,
        "fit": info.fit in FITS,
        "labels": 1 <= len(manifest.labels) <= MAX_LABELS and len(set(manifest.labels)) == len(manifest.labels),
        "models": bool(manifest.models)
        and all(m.file in MODEL_FILES and m.file in manifest.files for m in manifest.models),
        "accuracy": manifest.accuracy is None or _is_share(manifest.accuracy),
        "files": set(manifest.files) <= ENTRIES - {"manifest.json", SIGNATURE},
        "devices": len(manifest.devices) <= MAX_DEVICES and list(manifest.devices) == sorted(set(manifest.devices)),
        "signed": manifest.signed is None or _is_time(manifest.signed),
    }
    for field, fits in possible.items():
        if not fits:
            raise invalid(f"{path}: manifest.json: {field} has an impossible value; build the bundle again")
    try:
        if any(clean(label) != label for label in manifest.labels):
            raise invalid(f"{path}: manifest.json: labels have an impossible value; build the bundle again")
    except LabelError as error:
        raise invalid(f"{path}: {error}") from error
    return manifest


def _typed(path: Path, where: str, kind: Any, value: Any) -> Any:
    """Convert parsed JSON to `kind`, a dataclass, tuple, mapping, optional or plain type; extra keys are ignored."""
    args = get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        fields = dataclasses.fields(kind)
        optional = {f.name: f.default for f in fields if f.default is None or f.metadata.get("since")}
        missing = hints.keys() - value.keys() - optional.keys()
        if missing:
            raise invalid(f"{path}: {where} has no {sorted(missing)[0]}; build the bundle again")
        given = {**optional, **value}
        return kind(**{name: _typed(path, f"{where}: {name}", hint, given[name]) for name, hint in hints.items()})  # type: ignore[operator]
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_typed(path, where, args[0], item) for item in value)
    if get_origin(kind) is Mapping and isinstance(value, dict):
        return {key: _typed(path, f"{where}: {key}", args[1], item) for key, item in value.items()}
    if type(None) in args:
        return None if value is None else _typed(path, where, args[0], value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        if not _is_possible(value):
            raise invalid(f"{path}: {where} has an impossible value ({_shown(value)}); build the bundle again")
        return value
    raise invalid(
        f"{path}: {where} is {_shown(value)!r}, which is not of type {getattr(kind, '__name__', kind)}; build "
        "the bundle again"
    )


def _shown(value: object) -> str:
    """Return the beginning of any value, for an error message."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'table'} of {len(value)}"
    return str(value)[:60].encode("utf-8", "replace").decode()


def _is_possible(value: object) -> bool:
    try:
        fits = not isinstance(value, str) or len(value.encode()) <= MAX_TEXT
    except UnicodeEncodeError:  # a lone surrogate, which JSON allows but nothing can print
        return False
    return fits and (not isinstance(value, int) or abs(value) <= MAX_INTEGER)


def _is_share(told: Accuracy) -> bool:
    return all(0 <= share <= 1 for share in (told.accuracy, told.low, told.high)) and told.photos >= 0


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        return False
