"""A contribution's header: one canonical JSON object, written here and fully validated when it is read back.

Canonical means sorted keys, no spaces, UTF-8. Text that is not canonical is refused, so every header has exactly one
form, and no key can occur twice.
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edge.bundle.manifest import FITS, MAX_DIMENSION, MAX_LABELS, MAX_SIDE
from edge.errors import EdgeError, FleetError
from edge.fleet.names import DEVICE, MAX_NUMBER, MAX_SEQUENCE
from edge.labels import clean
from edge.metrics.figures import read_json
from edge.picture.region import Region

FORMAT = 1  # of a header, and of a plan
MAX_HEADER = 4_000_000  # bytes
MAX_EXAMPLES = 1 << 17  # per device
MAX_SQUARE = 4096  # largest dimension of an embedding for the form "moments"
FORMS = ("examples", "moments")
VERDICTS = ("accepted", "refused")
_MAX_TEXT = 500  # characters

Checks = dict[str, Callable[[Any, dict[str, Any]], bool]]  # validates each field, given all values


@dataclass(frozen=True)
class Serves:
    """The device's verdict on the newest release that was meant for it."""

    release: int | None = None  # the release's number; None if the device never installed one
    # "accepted", or "refused" after a test on the device's own examples; None without a release
    verdict: str | None = None
    why: str = ""  # the reason for a refusal
    accuracy: float | None = None  # leave-one-out accuracy of the current head; None if it cannot be measured


@dataclass(frozen=True)
class About:
    """The header of a contribution."""

    device: str  # the device's id, as in the contribution's name
    sequence: int  # the sequence, as in the contribution's name; a device's newest contribution replaces its older ones
    form: str  # "examples", or "moments" for their sums only
    # backbone, fingerprint, dimension: the network that made the embeddings, and their dimension D
    backbone: str
    fingerprint: str
    dimension: int
    # input_size, fit: the size of the network's input in pixels, and how a picture is made to fit it
    input_size: int
    fit: str
    # the part of each picture that is classified, in the form of `edge --region`; None for the whole picture
    region: str | None
    runtime: str  # a description of the runtime that ran the network
    labels: tuple[str, ...]  # C names, sorted
    counts: tuple[int, ...]  # (C,) examples of each label, including those held out
    held_out: int  # how many examples are only used for measuring
    taught: str  # when the newest example was taught, ISO 8601; "" if unknown
    serves: Serves = Serves()  # the device's verdict on its release
    format: int = FORMAT

    @property
    def examples(self) -> int:
        """N, the number of examples, including those held out."""
        return sum(self.counts)

    def to_json(self) -> bytes:
        """Return the canonical text."""
        return canonical(dataclasses.asdict(self))


def canonical(value: object) -> bytes:
    """Return a value as canonical JSON, such as `{"a":1,"b":null}`.

    >>> canonical({"b": None, "a": (1, 0.5)})
    b'{"a":[1,0.5],"b":null}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse(name: str, text: bytes) -> About:
    """Read a header.

    Raises:
        FleetError: the text is not canonical JSON or has a newer format, or a field is missing, unknown or invalid.
    """
    name = f"{name}: its header"
    about: About = parsed(name, text, About, _FIELDS, {"serves": (Serves, _SERVES)})
    if about.form == "moments" and about.held_out:
        raise _impossible(name, "held_out", about.held_out)
    if about.form == "moments" and about.dimension > MAX_SQUARE:
        raise _impossible(name, "dimension", about.dimension)
    return about


def parsed(name: str, text: bytes, kind: Any, fields: Checks, inner: dict[str, Any] | None = None) -> Any:
    """Read canonical JSON that has a field `format`; the other arguments are those of `checked`.

    Raises:
        FleetError: the text is not canonical JSON or has a newer format, or a field is missing, unknown or invalid.
    """
    try:
        raw = read_json(text)
    except ValueError as error:  # includes UnicodeDecodeError
        raise FleetError("contribution-invalid", f"{name} is not valid JSON ({error})") from error
    number = raw.get("format") if isinstance(raw, dict) else None
    if type(number) is int and number > FORMAT:
        raise FleetError(
            "too-new", f"{name} has format {number}, but this version reads only {FORMAT}; upgrade edge-transfer"
        )
    found = checked(name, raw, kind, fields, inner)
    if found.to_json() != text:
        raise FleetError("contribution-invalid", f"{name} is not in canonical form")
    return found


def checked(
    name: str,
    raw: object,
    kind: Any,
    fields: Checks,
    inner: dict[str, Any] | None = None,
) -> Any:
    """Convert a JSON object to a dataclass; every field must be present and valid, and there must be no others.

    Args:
        fields: the check for each field's value, except for fields in `inner`, in this order.
        inner: for fields that are objects themselves, their dataclass and checks.

    Raises:
        FleetError: a field is missing, unknown or invalid.
    """
    if not isinstance(raw, dict):
        raise FleetError("contribution-invalid", f"{name} is not a JSON object")
    if unlike := raw.keys() ^ {field.name for field in dataclasses.fields(kind)}:
        key = min(unlike)
        raise FleetError(
            "contribution-invalid", f"{name} has {'an unknown' if key in raw else 'no'} field {key[:40]!r}"
        )
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    for key, (made, checks) in (inner or {}).items():
        values[key] = checked(name, values[key], made, checks)
    for key, fits in fields.items():
        if not fits(values[key], values):
            raise _impossible(name, key, values[key])
    return kind(**values)


def _impossible(name: str, key: str, value: object) -> FleetError:
    shown = f"{value!r:.60}".encode("utf-8", "replace").decode()
    return FleetError("contribution-invalid", f"{name} has an impossible value of {key} ({shown})")


def moment(time: str) -> datetime | None:
    """Parse a time and return it as UTC; None if the text is not a time.

    >>> moment("2026-11-29T13:00:00+01:00").isoformat(), moment("yesterday")
    ('2026-11-29T12:00:00+00:00', None)
    """
    try:
        when = datetime.fromisoformat(time)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def text(value: Any, most: int = _MAX_TEXT) -> bool:
    """Whether a value is text that can be printed on one line and encoded as UTF-8."""
    return isinstance(value, str) and len(value) <= most and (value == "" or value.isprintable())


def whole(value: Any, least: int, most: int) -> bool:
    """Whether a value is an integer between two bounds."""
    return type(value) is int and least <= value <= most


def hexdigest(value: Any) -> bool:
    """Whether a value is a SHA-256 in hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _label(value: Any) -> bool:
    try:
        return isinstance(value, str) and clean(value) == value
    except EdgeError:
        return False


def _labels(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= MAX_LABELS
        and all(map(_label, value))
        and list(value) == sorted(set(value))
    )


def _counts(value: Any, given: dict[str, Any]) -> bool:
    return (
        isinstance(value, tuple)
        and isinstance(given["labels"], tuple)
        and len(value) == len(given["labels"])
        and all(whole(count, 1, MAX_EXAMPLES) for count in value)
        and sum(value) <= MAX_EXAMPLES
    )


def _region(value: Any) -> bool:
    try:
        return value is None or (text(value) and str(Region.parse(value)) == value)
    except EdgeError:
        return False


def _accuracy(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1)


def _verdict(value: Any, given: dict[str, Any]) -> bool:
    return isinstance(value, str) and value in VERDICTS if given["release"] is not None else value is None


_SERVES: Checks = {
    "release": lambda value, _: value is None or whole(value, 1, MAX_NUMBER),
    "verdict": _verdict,
    "why": lambda value, _: text(value),
    "accuracy": lambda value, _: _accuracy(value),
}
_FIELDS: Checks = {
    "format": lambda value, _: whole(value, 1, FORMAT),
    "device": lambda value, _: isinstance(value, str) and DEVICE.fullmatch(value) is not None,
    "sequence": lambda value, _: whole(value, 1, MAX_SEQUENCE),
    "form": lambda value, _: isinstance(value, str) and value in FORMS,
    "backbone": lambda value, _: text(value),
    "fingerprint": lambda value, _: text(value) and value != "",
    "dimension": lambda value, _: whole(value, 1, MAX_DIMENSION),
    "input_size": lambda value, _: whole(value, 1, MAX_SIDE),
    "fit": lambda value, _: isinstance(value, str) and value in FITS,
    "region": lambda value, _: _region(value),
    "runtime": lambda value, _: text(value),
    "labels": lambda value, _: _labels(value),
    "counts": _counts,
    "held_out": lambda value, given: whole(value, 0, sum(given["counts"])),
    "taught": lambda value, _: text(value),
}
