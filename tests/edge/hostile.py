"""Hostile input: what reaches a device from outside, spoilt in every way, and what each of it is asked.

A `Target` is one reader with a corpus of whole inputs; `spoilt` makes of it as many broken ones as wanted, each known
again by its number. Whatever a reader is given, it answers or raises an `EdgeError`: `make torture` counts.
"""

import contextlib
import copy
import hashlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edge.bundle import archive as bundle
from edge.bundle.archive import FactoryDomain
from edge.bundle.signature import Key, signer
from edge.camera import mjpeg
from edge.camera.folder import Journal
from edge.cli.terminal import shown
from edge.errors import EdgeError
from edge.head.fit import Examples, fit
from edge.head.linear import Head
from edge.home.trust import Pins
from edge.labels import clean
from edge.modelfile.check_onnx import check_onnx
from edge.modelfile.check_tflite import check_tflite
from edge.modelfile.graft import graft
from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.picture.region import Region
from edge.unknown import domain
from edge.unknown.domain import Domain
from edge.unknown.gate import Background, Detector, Gate

from .conftest import DATA, DIMENSION, MODELS, picture

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1)
_SIGNATURE = b"""-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgTnpI/dEe4erIsTCit9BmVA1FCl
by+Rb8dVQhKQoJdlwAAAALZWRnZS1idW5kbGUAAAAAAAAABnNoYTUxMgAAAFMAAAALc3No
LWVkMjU1MTkAAABAe5cGioS0Bvg0scCEW8HCVxoXO1uZyO5/poahDYQOWTupt0n1Y94j19
whHWYPKwAaE+ULS0IvT0IhUzF/Sh5BAQ==
-----END SSH SIGNATURE-----
"""
_FLOATS = (float("nan"), float("inf"), -float("inf"), 1e38, -1e38, 1e-45, 0.0)


@dataclass(frozen=True)
class Target:
    """One reader.

    Args:
        name: what it reads.
        corpus: whole inputs.
        ask: reads one; raises nothing but `EdgeError`.
        share: how many of the torture's inputs it gets.
    """

    questions = 1  # that one input is asked

    name: str
    corpus: tuple[bytes, ...]
    ask: Callable[[bytes], None]
    share: int

    def spoilt(self, number: int) -> bytes:
        """One broken input; the same number gives the same bytes."""
        chance = random.Random(f"{self.name} {number}")
        data = bytearray(chance.choice(self.corpus))
        if self.name.endswith(".json") and chance.random() < 0.7:
            return spoilt_json(bytes(data), chance)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            spoil(data, chance, self.corpus)
        return bytes(data)


def spoil(data: bytearray, chance: random.Random, corpus: tuple[bytes, ...]) -> None:
    size = len(data)
    at = chance.randrange(size + 1) if chance.random() < 0.5 else min(size, int(chance.expovariate(1 / 40)))
    if chance.random() < 0.2:  # a zip's list is at the end
        at = max(0, size - at)
    length = min(size - at, 1 + int(chance.expovariate(1 / 12)))
    kind = chance.randrange(9)
    if kind == 0 and at < size:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1 and at < size:
        data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))
    elif kind == 2:
        code = chance.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
        width = struct.calcsize(code)
        data[at : at + width] = struct.pack(code, chance.choice(_NUMBERS) & ((1 << 8 * width) - 1))[: size - at]
    elif kind == 3:
        data[at : at + 4] = struct.pack("<f", chance.choice(_FLOATS))[: size - at]
    elif kind == 4:
        del data[at : at + length]
    elif kind == 5:
        data[at:at] = data[at : at + length] * chance.choice((1, 1, 2, 40))
    elif kind == 6:
        data[at : at + length] = chance.randbytes(length)
    elif kind == 7:
        del data[at:]
    else:
        other = chance.choice(corpus)
        start = chance.randrange(len(other))
        data[at : at + length] = other[start : start + length]


def spoilt_json(text: bytes, chance: random.Random) -> bytes:
    """Put something else in the place of some value."""
    root = [json.loads(text)]
    strange: list[object] = [
        None, True, -1, 0, 2**31, 2**63, 2**70, 1e308, "", "x" * 5000, "\x1b[2J", "\ud800", "../../etc/passwd",
        [], {}, [[]] * 50, {"a": {"b": {}}}, ["a", "a"], "NaN", 0.5, "\u202e", "2026-11-24T08:00:00+00:00",
    ]  # fmt: skip
    for _ in range(chance.choice((1, 1, 2, 4))):
        node, key = root, 0
        while isinstance(node[key], dict | list) and node[key] and chance.random() < 0.8:
            node = node[key]
            key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))  # type: ignore[arg-type]
        if isinstance(node, dict) and chance.random() < 0.2:
            del node[key]
        else:
            node[key] = copy.deepcopy(chance.choice(strange))  # it may be changed in its turn
    return json.dumps(root[0], ensure_ascii=chance.random() < 0.9).encode("utf-8", "surrogatepass")


def targets(folder: Path, plain: Path) -> list[Target]:
    """List every reader with its corpus.

    Args:
        folder: for the files that must be files.
        plain: a whole bundle of the tiny network, without background and domain.
    """
    whole = full_bundle(folder, plain)
    entries = entries_of(whole)
    examples = bundle.read(whole).examples()
    fitted = fit(Examples(examples.embeddings, tuple("abc"[i] for i in examples.labels)))
    background = bundle.read(whole).background()
    assert background is not None
    head = fitted.head.to_bytes()
    key = Key(bytes(range(32)), "anna@bench")
    found = [
        Target("bundle, as it is", (whole.read_bytes(), plain.read_bytes()), _Asked(folder).bundle, 10_000),
        *(
            Target(f"bundle, {name}, hashes set right", (entries[name],), _Asked(folder, entries, name).entry, 4_000)
            for name in ("golden.npz", "examples.npz", "background.npz", "domain.npz")
        ),
        Target("bundle, manifest.json", (entries["manifest.json"],), _Asked(folder, entries).manifest, 6_000),
        Target("signature", (_SIGNATURE,), _signature, 4_000),
        Target("key", (str(key).encode(),), lambda data: _ignored(Key.parse(data.decode("utf-8", "replace"))), 4_000),
        Target("head", (head,), _head, 20_000),
        Target("gate", (_gate(examples.embeddings, background),), lambda data: _judge(data, background), 10_000),
        Target("picture", tuple(pictures()), _picture, 30_000),
        Target("camera's stream", (b"--x\r\n".join(p for p in pictures() if p[:2] == b"\xff\xd8"),), _stream, 4_000),
        Target("label", tuple(name.encode() for name in ("tin can", "Dose 🥫", "ガラス", "é")), _label, 8_000),
        Target("region", (b"0.2,0.1,0.3,0.5",), lambda data: _ignored(Region.parse(data.decode("latin1"))), 2_000),
        *(spoilt_models(kind) for kind in MODELS),
        Target("watch's journal", (_journal(),), _Asked(folder).journal, 3_000),
    ]
    return [*found, *(_grafted(kind) for kind in MODELS)]


def spoilt_models(kind: str) -> Target:
    """A network's files, looked through as before they are given to a runtime."""
    check = {"onnx": check_onnx, "tflite": check_tflite}[kind]
    others = {"onnx": (), "tflite": (DATA / "tiny_free.tflite", DATA / "tiny_int8.tflite")}[kind]
    files = (MODELS[kind], *others)
    return Target(f"{kind}, looked through", tuple(file.read_bytes() for file in files), check, 10_000)


def _grafted(kind: str) -> Target:
    weights = np.ones((DIMENSION, 2), np.float32)
    corpus = spoilt_models(kind).corpus

    def ask(data: bytes) -> None:
        graft(data, kind, weights, weights[0], ["a", "b"])  # type: ignore[arg-type]

    return Target(f"{kind}, to be grafted", corpus, ask, 5_000)


# the corpus -----------------------------------------------------------------------------------------------------------


def full_bundle(folder: Path, plain: Path) -> Path:
    """Write a bundle with everything that one can hold."""
    opened = bundle.read(plain)
    chance = np.random.default_rng(0)
    count = len(opened.examples().labels)
    return bundle.write(
        folder / "whole.edge",
        opened.manifest,
        {model.file: opened.entry(model.file) for model in opened.manifest.models},
        opened.golden(),
        opened.examples(),
        Background.of(chance.random((30, DIMENSION), np.float32), rank=3),
        FactoryDomain(Domain.of(chance.random((30, 5), np.float32)), chance.integers(0, 255, (count, 8, 8, 3), "u1")),
    ).path


def pictures() -> list[bytes]:
    """Small pictures of each format that is read, in the forms that decoders find hard."""
    colour = picture("brick", 1, 48)
    found = []

    def add(image: Image.Image, kind: str, **options: object) -> None:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found.append(file.getvalue())

    exif = Image.Exif()
    exif[0x0112] = 6
    add(colour, "JPEG", quality=80, exif=exif)
    add(colour, "JPEG", progressive=True, subsampling=0)
    add(colour.convert("CMYK"), "JPEG")
    add(colour.convert("L"), "JPEG", restart_marker_blocks=2)
    add(colour, "PNG", exif=exif)
    add(colour.convert("RGBA"), "PNG")
    add(colour.convert("P"), "PNG", transparency=3)
    add(colour.convert("LA"), "PNG")
    add(Image.fromarray(np.arange(48 * 48, dtype=np.uint16).reshape(48, 48)), "PNG")
    add(colour.convert("1"), "PNG")
    add(colour.convert("P"), "GIF")
    add(colour.convert("P"), "GIF", save_all=True, append_images=[picture("grass", 1, 48).convert("P")], duration=50)
    add(colour, "BMP")
    add(colour.convert("L"), "BMP")
    add(colour, "PPM")
    add(colour.convert("L"), "PPM")
    add(colour, "TIFF", compression="tiff_lzw")
    add(colour, "TIFF", compression="jpeg")
    add(colour.convert("1"), "TIFF", compression="group4")
    add(colour.convert("F"), "TIFF")
    add(colour, "TIFF", compression="tiff_adobe_deflate", exif=exif)
    add(colour, "WEBP")
    add(colour.convert("RGBA"), "WEBP", lossless=True)
    return found


def entries_of(path: Path) -> dict[str, bytes]:
    """Read a bundle's entries without any check."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, entries: dict[str, bytes]) -> Path:
    """Write entries as a bundle whose hashes and sizes fit, as an attacker would."""
    manifest = json.loads(entries["manifest.json"])
    manifest["files"] = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in entries.items()
        if name not in ("manifest.json", "manifest.sig")
    }
    write_zip(path, {**entries, "manifest.json": json.dumps(manifest).encode()})
    return path


def write_zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write entries as a zip file, as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return path


def _gate(embeddings: np.ndarray, background: Background) -> bytes:  # type: ignore[type-arg]
    means = embeddings[:3]
    quantiles = np.sort(np.random.default_rng(1).random((3, 21), np.float32), axis=1)
    known = np.ones(3, np.bool_)
    return Gate(means.astype(np.float16), known, quantiles, 0.3, 0.95, background.digest()).to_bytes()


def _journal() -> bytes:
    entry = {"image": "/a/b.jpg", "stamp": [1.5, 7], "answer": {"label": "brick", "probability": 0.5}}
    return b"{}\n" + json.dumps(entry).encode() + b"\n" + json.dumps({"stopped": True}).encode() + b"\n"


# what is asked --------------------------------------------------------------------------------------------------------


class _Asked:
    """The readers that need a file."""

    def __init__(self, folder: Path, entries: dict[str, bytes] | None = None, name: str = "") -> None:
        self._path, self._entries, self._name = folder / "spoilt.edge", entries or {}, name
        self._home = folder

    def bundle(self, data: bytes) -> None:
        self._path.write_bytes(data)
        _verify(self._path)

    def entry(self, data: bytes) -> None:
        _verify(pack(self._path, {**self._entries, self._name: data}))

    def manifest(self, data: bytes) -> None:
        write_zip(self._path, {**self._entries, "manifest.json": data})
        _verify(self._path)

    def journal(self, data: bytes) -> None:
        watched = self._home / "watched"
        name = f"watched-{hashlib.sha256(str(watched).encode()).hexdigest()[:12]}.jsonl"
        (self._home / name).unlink(missing_ok=True)
        (self._home / name).write_bytes(data)
        journal = Journal(self._home, watched)
        journal.note(Frame("/a/\udcffb.jpg", b"1", 2.0), {"label": "x"})
        journal.close()


def _verify(path: Path) -> None:
    opened = bundle.read(path)
    with contextlib.suppress(EdgeError):
        Pins((Key(bytes(32)),)).check(opened)
    opened.verify()
    examples = opened.examples()
    assert np.isfinite(examples.embeddings).all()
    assert all(clean(label) == label for label in opened.manifest.labels)


def _ignored(_: object) -> None:
    pass


def _signature(data: bytes) -> None:
    signer(data)


def _head(data: bytes) -> None:
    head = Head.from_bytes(data)
    assert head.probabilities(np.ones((1, head.features))).shape == (1, len(head.labels))


def _judge(data: bytes, background: Background) -> None:
    gate = Gate.from_bytes(data)
    judge = Detector(gate, background)
    similarity = judge.similarity(np.ones(DIMENSION, np.float32))
    for column in range(len(gate.measured)):
        judge.unknown(similarity, column)
        assert 0 <= judge.rank(similarity, column) <= 1


def _picture(data: bytes) -> None:
    region = Region.parse("0.2,0.1,0.3,0.5") if len(data) % 4 == 0 else None
    pixels = preprocess.decode(data, "x", 32, 36, region)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.isfinite(domain.look(pixels).statistics).all()


def _stream(data: bytes) -> None:
    for part in mjpeg.split(io.BytesIO(data).read):
        with contextlib.suppress(EdgeError):
            preprocess.decode(part, "x", 32, 36)


def _label(data: bytes) -> None:
    name = data.decode("utf-8", "surrogateescape")
    try:
        label = clean(name)
    except EdgeError as error:
        assert printable(shown(str(error)))
        raise
    assert printable(label)
    assert clean(label) == label


def printable(text: str) -> bool:
    """Whether a terminal would print this text as it is, and obey none of it."""
    return not any(map(_obeyed, text))


def _obeyed(c: str) -> bool:
    return (c < " " and c != "\t") or "\x7f" <= c <= "\x9f" or "\u2028" <= c <= "\u202e" or "\ud800" <= c <= "\udfff"
