"""Try a network or a runtime in a separate process, so that a crash, a hang or a lack of memory affects nothing else.

A runtime that was built for another processor crashes as soon as it is loaded. And the hashes of a bundle show that it
is undamaged, not that its network is harmless. edge/modelfile/check_onnx.py and check_tflite.py refuse everything that
can be named; this module is for the rest. It is not a jail: code that a hostile file brings into a runtime runs as this
user. Only a signature (edge/bundle/signature.py) prevents that.

The child process loads the runtime and, given a bundle, runs the golden pictures through one of its networks. It prints
the result as one line of JSON. `python -m edge.network.sandbox RUNTIME [BUNDLE FILE SHA256]` starts it.
"""

import contextlib
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from edge.bundle import archive
from edge.bundle.archive import Bundle
from edge.errors import BundleError, EdgeError, ParityError, RuntimeMissing
from edge.network import backbone, parity

LIMIT = 180.0  # seconds; the golden pictures of MobileNetV2 take about 2 on a Pi Zero 2
LEAST_MEMORY = 1 << 29  # bytes

_KINDS = {kind.__name__: kind for kind in (ParityError, RuntimeMissing)}


class Attempt(NamedTuple):
    """The result: `failure` is "" if everything went well; without a bundle the figures are 0."""

    failure: str
    pictures: int = 0
    error: float = 0.0  # of the embeddings, over their largest value
    cosine: float = 0.0
    milliseconds: float = 0.0  # per picture
    megabytes: float = 0.0  # the child's memory at its most
    kind: str = ""  # of the error, where the network or the runtime was refused
    code: str = ""  # the error's


def prove(runtime: backbone.Runtime, opened: Bundle, file: str, seconds: float = LIMIT) -> None:
    """Load a network of a bundle in a child process, and run the golden pictures through it.

    Args:
        opened: the bundle; the child reads it again, provided it is unchanged.
        file: the name of the network in the bundle.

    Raises:
        BundleError: the runtime refuses the network, crashes, or takes too long.
        ParityError, RuntimeMissing: as in `parity.prove` and `backbone.open_backbone`.
    """
    tried = attempt(runtime, opened.path, file, hashlib.sha256(opened.text).hexdigest(), seconds)
    if tried.kind:
        raise _KINDS.get(tried.kind, BundleError)(tried.code, tried.failure)
    if tried.failure:
        raise BundleError(
            "model-failed",
            f"{file} of {opened.path} on {runtime.name} {tried.failure}; use another --runtime, or another bundle",
        )


def attempt(
    runtime: backbone.Runtime, path: Path | None = None, file: str = "", digest: str = "", seconds: float = LIMIT
) -> Attempt:
    """Load a runtime in a child process, and prove a network of a bundle on it.

    Args:
        path: the bundle; None to load only the runtime.
        file: the name of the network in the bundle.
        digest: SHA-256 of the bundle's manifest; "" to accept any.
    """
    # -P: no module is taken from the folder that we happen to be in, which may be a stick with a bundle
    command = [
        sys.executable,
        "-P",
        "-m",
        "edge.network.sandbox",
        runtime.name,
        *([str(path), file, digest] if path else []),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return Attempt(f"gave no answer within {seconds:.0f} seconds")
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        why = "its wheel was built for another processor" if path is None else "the runtime or the network is broken"
        return Attempt(
            f"crashed with {name}; {'the system does this when it runs out of memory' if name == 'SIGKILL' else why}"
        )
    lines = child.stdout.strip().splitlines()
    try:
        return Attempt(**json.loads(lines[-1]))
    except (IndexError, ValueError, TypeError):
        said = child.stderr.strip().splitlines()
        return Attempt(f"failed ({said[-1][:200] if said else f'exit code {child.returncode}'})")


def _try(name: str, path: Path | None, file: str, digest: str) -> Attempt:
    runtime = next(r for r in backbone.RUNTIMES if r.name == name)
    try:
        if path is None:
            backbone.load_runtime(name)
            return Attempt("")
        most = _limited()
        opened = archive.read(path)
        if digest not in ("", hashlib.sha256(opened.text).hexdigest()):
            raise BundleError(
                "file-changed", f"{path} changed while it was being read; wait until it is complete, then try again"
            )
        golden = opened.golden()
        model = next(m for m in opened.manifest.models if m.file == file)
        data = opened.entry(file)
        network = backbone.open_backbone(data, runtime)
        start = time.perf_counter()
        found = parity.prove(network, golden.images, golden.embeddings, model.precision, file, data)
        each = 1000 * (time.perf_counter() - start) / len(golden.images)
    except EdgeError as error:
        return Attempt(str(error), kind=type(error).__name__, code=error.code)
    except OSError as error:
        return Attempt(str(error))
    except MemoryError:
        return Attempt(f"needed more than {most / 1e9:.1f} GB of memory")
    return Attempt("", len(golden.images), found.error, found.cosine, each, _peak())


def _peak() -> float:
    """Return the most memory that this process had, in MB; `ru_maxrss` may be that of the process that started it."""
    with contextlib.suppress(OSError), Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM"))
    return 0.0


def _limited() -> int:
    """Limit this process to most of the memory and forbid core dumps; returns the limit in bytes."""
    most = max(LEAST_MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return most


if __name__ == "__main__":
    asked = sys.argv[1:]
    tried = _try(asked[0], Path(asked[1]), *asked[2:]) if len(asked) == 4 else _try(asked[0], None, "", "")
    sys.stdout.write("\n" + json.dumps(tried._asdict()) + "\n")
    sys.stdout.flush()
    os._exit(0)  # not through the runtime's own way out, which may be the first thing that breaks
