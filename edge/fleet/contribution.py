"""A contribution: all examples of one device, in a file that is never changed.

::

    "edgefleet1\\n" · uint32 length · header (edge/fleet/header.py) · uint32 CRC-32 of the header · frames

A frame is `uint32 length · uint32 CRC-32 · zlib`, all numbers little-endian. Every frame but the last holds 256
examples, so a reader needs memory for one frame only. The header determines a frame's unpacked size, and a reader never
unpacks more. An unpacked frame of n examples consists of these columns, in this order:

| column | type | holds |
|---|---|---|
| images | n × 32 bytes | SHA-256 of the picture's file, strictly increasing, so there are no duplicates |
| labels | n × uint16 | index into the header's labels |
| sessions | n × int32 | a number shared by the pictures of one burst, −1 for a single picture |
| created | n × int64 | when the example was taught, in seconds since 1970 UTC; 0 if unknown |
| held out | n bits, padded | whether the example is only used for measuring, never for fitting a head |
| embeddings | 3 × D × n bytes | of length one, in units of 2⁻¹⁷ (edge/head/moments.py), zigzag, in three byte planes, |
| | | lowest first, each plane feature by feature |

The form "moments" has one frame: counts (C) and sums (C, D) of the embeddings and the upper triangle of their Gram
matrix, int64, in units of 1, 2⁻¹⁷ and 2⁻³⁴, in eight byte planes. These sums are exact.

The same examples, sequence and state give the same bytes. The contribution's name contains their SHA-256.

Pure. Source: byte planes as in HDF5's shuffle filter; zigzag as in Protocol Buffers.
"""

import dataclasses
import hashlib
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.errors import FleetError
from edge.fleet.frames import Frames, damaged, frame
from edge.fleet.header import MAX_HEADER, About, parse
from edge.head.moments import GRID, Moments, fixed

MAGIC = b"edgefleet1\n"
CHUNK = 256  # examples per frame
MAX_BYTES = 1 << 29  # of a contribution

_LENGTH = struct.Struct("<I")
_COLUMNS = 32 + 2 + 4 + 8  # bytes per example, without its bit and its embedding


@dataclass(frozen=True)
class Part:
    """Up to 256 examples of a contribution."""

    images: NDArray[np.uint8]  # (n, 32) uint8, SHA-256 of each picture's file
    labels: NDArray[np.int32]  # (n,) int32, indices into the header's labels
    sessions: NDArray[np.int32]  # (n,) int32, one number for each burst, −1 for a single picture
    created: NDArray[np.int64]  # (n,) int64, seconds since 1970 UTC; 0 if unknown
    held_out: NDArray[np.bool_]  # (n,) bool, whether the example is only used for measuring
    embeddings: NDArray[np.float32]  # (n, D) float32, of length one, exactly on the grid

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Contribution:
    """An opened contribution: its header, and its examples or moments, which are unpacked on demand."""

    name: str
    about: About
    _data: bytes = field(repr=False)
    _start: int = field(repr=False)

    def parts(self) -> Iterator[Part]:
        """Yield the examples in the order of their pictures' SHA-256, at most 256 at a time.

        Raises:
            FleetError: the examples are damaged or invalid, or the contribution holds moments only.
        """
        if self.about.form != "examples":
            raise FleetError(
                "contribution-invalid", f"{self.name} tells moments only, no examples; contribute without --moments"
            )
        frames, last = Frames(self.name, self._data, self._start), b""
        counts, held_out = np.zeros(len(self.about.labels), np.int64), 0
        for first in range(0, self.about.examples, CHUNK):
            count = min(CHUNK, self.about.examples - first)
            part = self._part(frames.take(_size(count, self.about.dimension)), count)
            images = [last, *(row.tobytes() for row in part.images)]
            if any(a >= b for a, b in itertools.pairwise(images)):
                raise self._impossible("images", "they do not rise")
            last = images[-1]
            counts += np.bincount(part.labels, minlength=len(counts))
            held_out += int(part.held_out.sum())
            yield part
        frames.end()
        if tuple(counts.tolist()) != self.about.counts or held_out != self.about.held_out:
            raise self._impossible("counts", "they differ from those in the header")

    def moments(self) -> Moments:
        """Return the moments of the examples that heads are fitted to, whichever form the contribution has.

        Raises:
            FleetError: the contribution is damaged or invalid.
        """
        if self.about.form == "moments":
            return self._told_moments()
        d = self.about.dimension
        counts, sums, gram = np.zeros(len(self.about.labels)), np.zeros((len(self.about.labels), d)), np.zeros((d, d))
        for part in self.parts():
            rows, columns = part.embeddings[~part.held_out].astype(np.float64), part.labels[~part.held_out]
            counts += np.bincount(columns, minlength=len(counts))
            np.add.at(sums, columns, rows)
            gram += rows.T @ rows
        taught = counts > 0
        names = tuple(name for name, some in zip(self.about.labels, taught, strict=True) if some)
        return Moments(names, counts[taught], sums[taught], gram)

    def _part(self, raw: bytes, n: int) -> Part:
        cut = np.cumsum([0, 32 * n, 2 * n, 4 * n, 8 * n, -(-n // 8)])
        images, labels, sessions, created, bits = (raw[a:b] for a, b in itertools.pairwise(cut.tolist()))
        part = Part(
            np.frombuffer(images, np.uint8).reshape(n, 32),
            np.frombuffer(labels, "<u2").astype(np.int32),
            np.frombuffer(sessions, "<i4").astype(np.int32),
            np.frombuffer(created, "<i8").astype(np.int64),
            np.unpackbits(np.frombuffer(bits, np.uint8), count=n).astype(np.bool_),
            _embeddings(raw[cut[-1] :], n),
        )
        if len(part) and part.labels.max() >= len(self.about.labels):
            raise self._impossible("labels", f"{part.labels.max()} of {len(self.about.labels)}")
        if np.packbits(part.held_out).tobytes() != bits:
            raise self._impossible("held out", "bits beyond the last example")
        if (part.sessions < -1).any() or (part.created < 0).any():
            raise self._impossible("sessions or created", "less than there can be")
        if not _are_unit(part.embeddings):
            raise self._impossible("embeddings", "their length is not one")
        return part

    def _told_moments(self) -> Moments:
        c, d = len(self.about.labels), self.about.dimension
        frames = Frames(self.name, self._data, self._start)
        raw = frames.take(8 * (c + c * d + d * (d + 1) // 2))
        frames.end()
        numbers = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(8, -1).T).view("<i8").ravel()
        counts, sums, half = np.split(numbers, [c, c + c * d])
        gram = np.zeros((d, d))
        gram[np.triu_indices(d)] = half / GRID**2
        gram = gram + np.triu(gram, 1).T
        if tuple(counts.tolist()) != self.about.counts or not _are_moments(counts, sums, gram):
            raise self._impossible("moments", "no examples have such sums")
        return Moments(self.about.labels, counts.astype(np.float64), (sums / GRID).reshape(c, d), gram)

    def _impossible(self, what: str, why: str) -> FleetError:
        return FleetError("contribution-invalid", f"{self.name}: {what} have an impossible value ({why})")


def write(about: About, parts: Iterable[Part]) -> bytes:
    """Write examples as a contribution.

    Args:
        parts: the examples, sorted by their pictures' SHA-256; each part but the last has 256. Embeddings may be raw.
    """
    return _head(about) + b"".join(frame(_columns(part)) for part in parts)


def write_moments(about: About, moments: Moments) -> bytes:
    """Write moments as a contribution.

    Args:
        about: the header, with the form "moments" and the labels and counts of the moments.
        moments: the sums over the device's examples.
    """
    half = moments.gram[np.triu_indices(len(moments.gram))]
    numbers = np.concatenate([moments.counts, moments.sums.ravel() * GRID, half * GRID**2]).astype("<i8")
    return _head(about) + frame(numbers.view(np.uint8).reshape(-1, 8).T.tobytes())


def renumbered(data: bytes, about: About, sequence: int) -> bytes:
    """Return a contribution with another sequence, without reading or changing anything else."""
    return _head(dataclasses.replace(about, sequence=sequence)) + data[len(_head(about)) :]


def read(name: str, data: bytes) -> Contribution:
    """Read a contribution's header; frames are read and checked on demand.

    Args:
        name: the name to show in errors, such as the contribution's name in the store.

    Raises:
        FleetError: the bytes are not a contribution, or the header is damaged or invalid.
    """
    start = len(MAGIC) + _LENGTH.size
    if len(data) > MAX_BYTES:
        raise FleetError("contribution-invalid", f"{name} has {len(data)} bytes, but at most {MAX_BYTES} are allowed")
    if not data.startswith(MAGIC):
        raise FleetError("contribution-invalid", f"{name} is not a contribution of edge-transfer")
    length = _LENGTH.unpack(data[len(MAGIC) : start])[0] if len(data) >= start else 0
    if length > MAX_HEADER:
        raise FleetError("contribution-invalid", f"{name}: its header has {length} bytes, at most {MAX_HEADER} can be")
    header, crc = data[start : start + length], data[start + length : start + length + _LENGTH.size]
    if len(data) < start or len(crc) < _LENGTH.size or _LENGTH.unpack(crc)[0] != zlib.crc32(header):
        raise damaged(name, "its header is cut short or was changed")
    return Contribution(name, parse(name, header), data, start + length + _LENGTH.size)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of a contribution, in the form used in its name."""
    return hashlib.sha256(data).hexdigest()


def _head(about: About) -> bytes:
    text = about.to_json()
    return MAGIC + _LENGTH.pack(len(text)) + text + _LENGTH.pack(zlib.crc32(text))


def _columns(part: Part) -> bytes:
    whole = np.rint(fixed(part.embeddings) * GRID).astype(np.int32)
    zigzag = ((whole << 1) ^ (whole >> 31)).astype("<u4")
    planes = zigzag.T[..., None].view(np.uint8)[..., :3]  # (D, n, 3)
    return b"".join(
        [
            part.images.astype(np.uint8).tobytes(),
            part.labels.astype("<u2").tobytes(),
            part.sessions.astype("<i4").tobytes(),
            part.created.astype("<i8").tobytes(),
            np.packbits(part.held_out).tobytes(),
            planes.transpose(2, 0, 1).tobytes(),
        ]
    )


def _embeddings(raw: bytes, n: int) -> NDArray[np.float32]:
    planes = np.frombuffer(raw, np.uint8).reshape(3, -1, n).astype(np.int32)  # (3, D, n)
    zigzag = planes[0] | planes[1] << 8 | planes[2] << 16
    whole = (zigzag >> 1) ^ -(zigzag & 1)
    return np.ascontiguousarray(whole.T).astype(np.float32) / np.float32(GRID)


def _size(n: int, dimension: int) -> int:
    """Return the unpacked size of a frame of n examples, in bytes."""
    return n * (_COLUMNS + 3 * dimension) + -(-n // 8)


def _are_unit(embeddings: NDArray[np.float32]) -> bool:
    """Whether each row has length one, up to rounding to the grid, or is all zeros."""
    lengths = np.sqrt((embeddings.astype(np.float64) ** 2).sum(axis=1))
    slack = np.sqrt(embeddings.shape[1]) / GRID
    return bool(((np.abs(lengths - 1) <= slack) | (lengths == 0)).all())


def _are_moments(counts: NDArray[np.int64], sums: NDArray[np.int64], gram: NDArray[np.float64]) -> bool:
    """Whether counts, sums in grid units and a Gram matrix can come from vectors of length one."""
    slack = 1 + np.sqrt(len(gram)) / GRID
    steps = np.abs(sums.astype(np.float64)).reshape(len(counts), -1).max(axis=1, initial=0)
    squares = np.diag(gram)
    if (steps > counts * slack * GRID).any() or (squares < 0).any() or squares.sum() > counts.sum() * slack**2:
        return False
    lengths = np.sqrt(squares) * (1 + 1e-9)
    return bool((np.abs(gram) <= np.outer(lengths, lengths)).all())
