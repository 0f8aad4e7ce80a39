"""Try a runtime in a process of its own: one built for another processor dies of it, and must not take us along.

The child loads the runtime and, given a bundle, runs the golden pictures through one of its networks; it prints what
came of it as one line of JSON. `python -m edge.trial RUNTIME [BUNDLE FILE]` is that child.
"""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from edge import backbone, bundle
from edge.errors import EdgeError

LIMIT = 180  # seconds


class Trial(NamedTuple):
    """What came of it: `failure` is "" where all went well; without a bundle the figures are 0."""

    failure: str
    pictures: int = 0
    error: float = 0.0  # of the embeddings, over their largest value
    cosine: float = 0.0
    milliseconds: float = 0.0  # per picture
    megabytes: float = 0.0  # the child's memory at its most


def attempt(runtime: backbone.Runtime, path: Path | None = None, file: str = "") -> Trial:
    """Load a runtime in a child process, and prove a network of a bundle on it.

    Args:
        runtime: which.
        path: the bundle; None: only load.
        file: the name of the network in it.
    """
    command = [sys.executable, "-m", "edge.trial", runtime.name, *([str(path), file] if path else [])]
    try:
        child = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return Trial(f"does not answer within {LIMIT} seconds")
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        why = (
            "the system does that when memory runs out"
            if name == "SIGKILL"
            else "its wheel does not fit this processor"
        )
        return Trial(f"dies of {name}; {why}")
    lines = child.stdout.strip().splitlines()
    try:
        return Trial(**json.loads(lines[-1]))
    except (IndexError, ValueError, TypeError):
        said = child.stderr.strip().splitlines()
        return Trial(f"fails ({said[-1] if said else f'exit code {child.returncode}'})")


def _try(name: str, path: Path | None, file: str) -> Trial:
    runtime = next(r for r in backbone.RUNTIMES if r.name == name)
    try:
        if path is None:
            backbone.load_runtime(name)
            return Trial("")
        opened = bundle.read(path)
        golden = opened.golden()
        model = next(m for m in opened.manifest.models if m.file == file)
        network = backbone.open_backbone(opened.entry(file), runtime)
        start = time.perf_counter()
        parity = backbone.prove(network, golden.images, golden.embeddings, model.precision, file)
        each = 1000 * (time.perf_counter() - start) / len(golden.images)
    except (EdgeError, OSError, MemoryError) as error:
        return Trial(str(error) or type(error).__name__)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # kilobytes on Linux
    return Trial("", len(golden.images), parity.error, parity.cosine, each, most)


if __name__ == "__main__":
    asked = sys.argv[1:]
    tried = _try(asked[0], Path(asked[1]), asked[2]) if len(asked) == 3 else _try(asked[0], None, "")
    sys.stdout.write(json.dumps(tried._asdict()) + "\n")
