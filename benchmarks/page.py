"""The page's price: `python -m benchmarks.page` prints what `edge serve` costs over `edge watch`, on one camera.

The camera is motion JPEG on loopback, 640 × 480 at 15 frames a second; a viewer asks for the next frame when it has the
last one, as the page does, and for the state once a second.

| row | ours | its peer |
|---|---|---|
| memory | resident memory of `edge serve` after some seconds with a viewer, more than | `edge watch` after the same |
| frames | frames a second that one viewer gets; and each of six | what the camera gives |
| answer | from a frame's arrival to its answer while six look | while nobody looks |
| photos | 100 photos sent, four at a time, each acknowledged when it is stored | `edge teach` of the same 100 |
"""

import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from benchmarks.job import _edge, _edge_export, _photos, _row
from edge.cli.terminal import table

RATE = 15.0  # frames a second
EVERY = 1 / RATE
SECONDS = 12.0  # of each measurement
MEMORY = 15.0  # MB over watch: the goal
UPLOADS = 100
AT_ONCE = 4  # on their way, as the page sends them
RUNS = 3  # of the memory


def main() -> None:
    """Build a bundle, measure, print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"building a bundle in {folder} …", file=sys.stderr)
        _edge_export("sample", str(folder / "sample"))
        _edge_export("build", str(folder / "sample" / "photos"), "-o", str(folder / "b.edge"), "--precision", "fp32")
        photos = _photos(folder)[:UPLOADS]
        home = folder / "home"
        _edge("--home", str(home), "init", str(folder / "b.edge"), "--keep-crops")
        with _camera([Image.open(photo).convert("RGB").resize((640, 480)) for photo in photos[:30]]) as address:
            rows = [["", "ours", "peer", "ratio", "goal"], _memory(home, address), *_serve(home, address)]
        rows.append(_uploads(folder, photos))
        print("\n".join(table(rows, right=[1, 2, 3])))


def _memory(home: Path, address: str) -> list[str]:
    """Resident memory after the same seconds on the same camera, with a viewer, in turn with watch."""
    pairs = []
    for _ in range(RUNS):
        with _running(home, address) as (process, url):
            _viewers(url, 1, lambda process=process: _milliseconds(process))  # type: ignore[misc]
            ours = _resident(process)
        with _watching(home, address) as process:
            _milliseconds(process, SECONDS)
            pairs.append((ours, _resident(process)))
    more = statistics.median(ours - watch for ours, watch in pairs)
    usual = statistics.median(watch for _, watch in pairs)
    return ["memory of serve over watch, MB, peer watch", f"{more:.1f}", f"{usual:.0f}", "", f"≤ {MEMORY:.0f}"]


def _serve(home: Path, address: str) -> list[list[str]]:
    with _running(home, address) as (process, url):
        time.sleep(3)
        alone = _milliseconds(process)
        one = _viewers(url, 1)
        six = _viewers(url, 6, lambda: _milliseconds(process))
    least = min(six[:6])
    return [
        _row("view, one viewer, frames/s, peer the camera", f"{one[0]:.1f}", f"{RATE:.1f}", one[0] / RATE, ""),
        _row("view, the slowest of six, frames/s", f"{least:.1f}", f"{RATE:.1f}", least / RATE, ""),
        _row("answer while six look, ms, peer nobody looks", f"{six[6]:.1f}", f"{alone:.1f}", six[6] / alone, ""),
        ["state while six look, ms, median, and the worst", f"{six[7]:.0f}", f"{six[8]:.0f}", "", ""],
    ]


def _viewers(url: str, count: int, ask: Callable[[], float] | None = None) -> list[float]:
    """Look with so many viewers: the frames a second of each; with `ask`, what it gave, and the wait of `now`."""
    end = time.monotonic() + SECONDS
    frames, waits = [0] * count, list[float]()

    def look(which: int) -> None:
        with requests.Session() as session:
            number = "0"
            while time.monotonic() < end:
                got = session.get(f"{url}frame?after={number}")
                if got.status_code == 200:
                    number = got.headers["Edge-Frame"]
                    frames[which] += 1

    def poll() -> None:
        with requests.Session() as session:
            while time.monotonic() < end:
                start = time.perf_counter()
                session.get(f"{url}now")
                waits.append(1000 * (time.perf_counter() - start))
                time.sleep(0.2)

    threads = [threading.Thread(target=look, args=(which,)) for which in range(count)]
    threads.append(threading.Thread(target=poll))
    for thread in threads:
        thread.start()
    told = [ask()] if ask else []
    for thread in threads:
        thread.join()
    return [count / SECONDS for count in frames] + told + ([statistics.median(waits), max(waits)] if ask else [])


def _milliseconds(process: "subprocess.Popen[str]", seconds: float = SECONDS / 2) -> float:
    """The median of what `edge serve --json` or `watch --json` says that each answer took, over some seconds."""
    assert process.stdout is not None
    end, found = time.monotonic() + seconds, []
    while time.monotonic() < end:
        found.append(json.loads(process.stdout.readline())["milliseconds"])
    return statistics.median(found[5:])


def _uploads(folder: Path, photos: list[Path]) -> list[str]:
    seconds = {}
    for who in ("ours", "peer"):
        home = folder / f"home-{who}"
        _edge("--home", str(home), "init", str(folder / "b.edge"), "--keep-crops")
        if who == "peer":
            start = time.perf_counter()
            _edge("--home", str(home), "teach", "things", *map(str, photos))
        else:
            with _running(home, None) as (_, url):
                start = time.perf_counter()
                _send(url, photos)
        seconds[who] = time.perf_counter() - start
    rate = {who: UPLOADS / spent for who, spent in seconds.items()}
    return _row("photos taught by upload, photos/s, peer edge teach", f"{rate['ours']:.1f}", f"{rate['peer']:.1f}",
                rate["ours"] / rate["peer"], "")  # fmt: skip


def _send(url: str, photos: list[Path]) -> None:
    waiting = list(photos)
    headers = {"Origin": url.rstrip("/"), "Content-Type": "image/jpeg"}

    def work() -> None:
        with requests.Session() as session:
            while waiting:
                photo = waiting.pop()
                asked = {"label": "things", "name": photo.name}
                got = session.post(f"{url}photo", data=photo.read_bytes(), params=asked, headers=headers).json()
                if "upload" in got:  # too dark, blurred …: a person would be asked
                    session.post(f"{url}photo/keep", json={"upload": got["upload"], "label": "things", "keep": True},
                                 headers={"Origin": url.rstrip("/")})  # fmt: skip

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def _watching(home: Path, address: str) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "edge", "--json", "--home", str(home), "watch", address, "--every", str(EVERY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield process
        process.terminate()


@contextmanager
def _running(home: Path, address: str | None) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    command = [sys.executable, "-m", "edge", "--json", "--home", str(home), "serve", *([address] if address else [])]
    command += ["--port", "0", "--every", str(EVERY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        while "the page is at" not in line:
            line = process.stderr.readline()
        yield process, line.split(" is at ")[1].split(";")[0]
        process.terminate()


def _resident(process: "subprocess.Popen[str]") -> float:
    """Resident memory in MB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise ProcessLookupError(process.pid)


@contextmanager
def _camera(images: list[Image.Image]) -> Iterator[str]:
    """Motion JPEG on loopback."""
    packed = []
    for image in images:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        packed.append(file.getvalue())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            number = 0
            try:
                while True:
                    data = packed[number % len(packed)]
                    number += 1
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n")
                    time.sleep(EVERY)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/stream"
    server.shutdown()


if __name__ == "__main__":
    main()
