"""The first run of a network, in a process of its own: a file that makes the runtime crash, hang or eat the memory
takes nobody with it, and is refused by name.

A bundle's hashes say that nothing was damaged on the way. They do not say that its network means well: whoever writes a
bundle writes its hashes too, and a runtime of a million lines is no fortress. The checks of edge/check_onnx.py and
edge/check_tflite.py refuse what can be named; this is for the rest. It is no jail: code that a hostile file smuggles
into the runtime runs as this user. Only a signature (edge/pinned.py) keeps that out.
"""

import io
import os
import resource
import signal
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from edge import backbone
from edge.backbone import RUNTIMES, Runtime
from edge.errors import BundleError, EdgeError, ParityError, RuntimeMissing

SECONDS = 120.0  # for loading and the golden pictures: those of MobileNetV2 take about 2 on a Pi Zero 2
LEAST_MEMORY = 1 << 29  # bytes
_KINDS = {kind.__name__: kind for kind in (ParityError, RuntimeMissing, BundleError, EdgeError)}


def prove(
    model: bytes,
    runtime: Runtime,
    images: NDArray[np.uint8],
    reference: NDArray[np.float32],
    precision: str,
    name: str,
    seconds: float = SECONDS,
) -> None:
    """Load a network and run the golden pictures, in a child process.

    Args:
        model: the ONNX or TFLite file's bytes.
        runtime: which to load it into.
        images, reference, precision, name: as `backbone.prove`.
        seconds: after which it is given up.

    Raises:
        BundleError: the runtime died of it, refused it, or took too long.
        ParityError, RuntimeMissing: as `backbone.prove` and `backbone.open_backbone`.
    """
    packed = io.BytesIO()
    words = np.array([runtime.name, precision, name])
    np.savez(packed, model=np.frombuffer(model, np.uint8), images=images, reference=reference, words=words)
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "edge.probe"],
            input=packed.getvalue(), capture_output=True, timeout=seconds, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BundleError(f"{name} did not end on {runtime.name} within {seconds:.0f} s; use another bundle") from None
    kind, _, message = child.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2].partition(" ")
    if kind in _KINDS:
        raise _KINDS[kind](message)
    if kind != "proved":
        if child.returncode < 0:
            what = signal.strsignal(-child.returncode) or f"signal {-child.returncode}"
            raise BundleError(f"{runtime.name} dies of {name} ({what}); use another --runtime, or another bundle")
        last = child.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise BundleError(f"{name} cannot be run on {runtime.name} ({last or child.returncode}); use another bundle")


def main() -> None:
    """The child: reads from stdin what `prove` packed, and says what came of it in one line."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = max(LEAST_MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    given = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    name, precision, file = given["words"].tolist()
    runtime = next(r for r in RUNTIMES if r.name == name)
    try:
        network = backbone.open_backbone(given["model"].tobytes(), runtime)
        backbone.prove(network, given["images"], given["reference"], precision, file)
        said = "proved"
    except EdgeError as error:
        said = f"{type(error).__name__} {' '.join(str(error).splitlines())}"
    except MemoryError:
        said = f"BundleError {file} needs more than {most / 1e9:.1f} GB on {name}; use another bundle"
    sys.stdout.buffer.write(f"\n{said}\n".encode("utf-8", "backslashreplace"))
    sys.stdout.flush()
    os._exit(0)  # not through the runtime's own way out, which may be the first thing that breaks


if __name__ == "__main__":
    main()
