"""Coverage-guided fuzzing of everything that reads what others wrote: `make fuzz`, by atheris in its own environment.

    python -m tests.fuzz TARGET SECONDS

Each target reads bytes as the program does, and may raise an `EdgeError` (or what its docstring says) and nothing else.
What makes it raise something else is kept in build/fuzz/TARGET, as is what was learned, for the next run. Where a hash
or checksum guards the rest, it is made right for the changed bytes: a stranger can do so as well.
"""

import io
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edge"]):
    import numpy as np
    from PIL import Image

    from edge.bundle import archive, manifest
    from edge.bundle.container import Arrays
    from edge.camera import mjpeg
    from edge.camera.frigate import Place
    from edge.errors import EdgeError
    from edge.fleet import contribution, header
    from edge.fleet.frames import frame
    from edge.frigate.events import Waiting
    from edge.modelfile.check_onnx import check_onnx
    from edge.modelfile.check_tflite import check_tflite
    from edge.modelfile.graft import graft
    from edge.picture import preprocess
    from edge.testing import MODELS, FakeNetwork, surface, write_bundle, write_photos

FOLDER = Path("build") / "fuzz"
SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz-"))
LARGEST = 100_000  # bytes of an input


def bundle(data: bytes) -> None:
    """A bundle's file: the zip, its limits, its manifest, its entries."""
    file = SCRATCH / "x.edge"
    file.write_bytes(data)
    archive.read(file).verify()


def bundle_manifest(data: bytes) -> None:
    """manifest.json, whatever its hash."""
    manifest.parse(Path("x.edge"), data)


def bundle_arrays(data: bytes) -> None:
    """An npz inside a bundle, whatever its hash."""
    arrays = Arrays("x.npz", io.BytesIO(data), len(data))
    for key, kind, shape in (("embeddings", np.float32, (None, 16)), ("images", np.uint8, (None, 8, 8, 3))):
        if arrays.holds(key):
            arrays.take(key, kind, shape)


def onnx(data: bytes) -> None:
    """An ONNX file before a runtime sees it, and when a head is grafted to it."""
    check_onnx(data)
    _graft(data, "onnx")


def tflite(data: bytes) -> None:
    """A TFLite file, likewise."""
    check_tflite(data)
    _graft(data, "tflite")


def _graft(data: bytes, kind: str) -> None:
    graft(data, kind, np.ones((16, 2), np.float32), np.zeros(2, np.float32), ["a", "b"])  # type: ignore[arg-type]


def stream(data: bytes) -> None:
    """Motion JPEG, in pieces as a network gives it."""
    piece, file = (data[0] % 97 + 1 if data else 1), io.BytesIO(data)
    for picture in mjpeg.split(lambda size: file.read(min(size, 50 * piece)), boundary="frame"):
        assert picture.startswith(mjpeg.START)


def upload(data: bytes) -> None:
    """A picture, as it is uploaded to the page, taught or classified."""
    assert preprocess.decode(data, "x", 16, 18).shape == (16, 16, 3)


def contributed(data: bytes) -> None:
    """A contribution whose checksums are right: header, NUL, and its frames unpacked, each up to the next `!!!!`."""
    text, _, rest = data.partition(b"\0")
    made = contribution.MAGIC + struct.pack("<I", len(text)) + text + struct.pack("<I", zlib.crc32(text))
    made += b"".join(frame(raw) for raw in rest.split(b"!!!!"))
    _read(made)


def contribution_file(data: bytes) -> None:
    """A contribution as it comes."""
    _read(data)


def contribution_header(data: bytes) -> None:
    """A contribution's header."""
    header.parse("x", data)


def _read(data: bytes) -> None:
    found = contribution.read("x", data)
    if found.about.examples <= 1000 and found.about.dimension <= 64 and len(found.about.labels) <= 100:
        found.moments()


def frigate_event(data: bytes) -> None:
    """A message of Frigate's; it raises ValueError for what is none."""
    try:
        Waiting(Place.parse("frigate://nvr/door/cat")).hear(data)
    except ValueError as error:
        if isinstance(error, UnicodeError):
            raise


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        bundle,
        bundle_manifest,
        bundle_arrays,
        onnx,
        tflite,
        stream,
        upload,
        contributed,
        contribution_file,
        contribution_header,
        frigate_event,
    )
}


def seeds(target: str) -> Iterator[bytes]:
    """Yield whole inputs of a target, to begin with."""
    if target.startswith("bundle"):
        file = SCRATCH / "seed.edge"
        write_bundle(file, write_photos(SCRATCH / "photos", {"brick": 3, "grass": 3}), FakeNetwork())
        opened = archive.read(file)
        whole = {"bundle": [file.read_bytes()], "bundle_manifest": [opened.text]}
        yield from whole.get(target, [opened.entry(name) for name in ("examples.npz", "golden.npz")])
    elif target in MODELS:
        yield MODELS[target].read_bytes()
    elif target in ("stream", "upload"):
        pictures = list(_pictures())
        yield from pictures if target == "upload" else [b"--frame\r\n\r\n" + b"\r\n--frame\r\n\r\n".join(pictures)]
    elif target.startswith("contribut"):
        from tests.edge.fleet.taught import contribution as taught

        whole = taught(6)
        start = len(contribution.MAGIC) + 4
        (length,) = struct.unpack("<I", whole[start - 4 : start])
        text, frames = whole[start : start + length], whole[start + length + 4 :]
        raw = text + b"\0" + zlib.decompress(frames[8:])  # one frame, behind its length and checksum
        yield {"contributed": raw, "contribution_header": text}.get(target, whole)
    else:
        yield b'{"type": "new", "after": {"id": "1.2-a", "camera": "door", "label": "cat", "false_positive": false, ' \
              b'"current_zones": ["yard"], "snapshot": {"frame_time": 1.5, "box": [1, 2, 3, 4]}}}'  # fmt: skip


def _pictures() -> Iterator[bytes]:
    image = Image.fromarray(np.asarray(surface("brick", 1, 24)))
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6  # turned
        image.save(file, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
        yield file.getvalue()


def main(name: str, seconds: str) -> None:
    """Fuzz one target for so many seconds; exits with libFuzzer's code, 0 if nothing was found."""
    target, corpus = TARGETS[name], FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)

    def once(data: bytes) -> None:
        try:
            target(data)
        except EdgeError as error:
            assert "\n" not in str(error), f"an error of more than one line: {error}"

    options = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", "-timeout=20", "-rss_limit_mb=2000"]
    options += ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={corpus}/found-", str(corpus)]
    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(*sys.argv[1:])
    else:  # each in a process of its own, as libFuzzer ends it
        codes = [subprocess.call([sys.executable, "-m", "tests.fuzz", name, "120"]) for name in TARGETS]
        sys.exit(any(codes))
