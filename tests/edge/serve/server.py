"""A real `edge serve` in a process of its own, and a browser's way of asking it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import requests

T = TypeVar("T")
PATIENCE = 120  # seconds, after which what hangs is given up
PASSWORD = "correct horse"


class Server:
    """A running server.

    Args:
        home: the folder of all state.
        arguments: of `edge serve`.
    """

    def __init__(self, home: Path, *arguments: object) -> None:
        command = [sys.executable, "-m", "edge", "--home", str(home), "serve", "--port", "0", *map(str, arguments)]
        self.home = home
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"EDGE_DEBUG": ""}
        )
        self.said: list[str] = []
        self.out: list[str] = []
        ready = threading.Event()
        threading.Thread(target=self._listen, args=(self.process.stderr, self.said, ready), daemon=True).start()
        threading.Thread(target=self._listen, args=(self.process.stdout, self.out, None), daemon=True).start()
        assert ready.wait(PATIENCE)
        found = re.search(r"the page is at (http\S+/);", "\n".join(self.said))
        assert found, self.said
        self.url = found[1].replace("0.0.0.0", "127.0.0.1")
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Origin"] = self.url.rstrip("/")

    def _listen(self, stream: Any, lines: list[str], ready: threading.Event | None) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            if ready is not None and "the page is at" in line:
                ready.set()
        if ready is not None:
            ready.set()

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=PATIENCE, **more)

    def post(self, path: str, value: Any = None, **more: Any) -> requests.Response:
        return self.session.post(self.url + path, json={} if value is None else value, timeout=PATIENCE, **more)

    def send(self, data: bytes, label: str, name: str = "photo.jpg", **more: str) -> requests.Response:
        """Send a photo."""
        asked = {"label": label, "name": name, **more}
        headers = {"Content-Type": "image/jpeg"}
        return self.session.post(self.url + "photo", data=data, params=asked, headers=headers, timeout=PATIENCE)

    def now(self, path: str = "now") -> Any:
        return self.get(path).json()

    def until(self, ask: Callable[[], T], path: str = "") -> T:
        """Ask again and again until the answer is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = ask()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"never true; the server said {self.said}")

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it; returns its exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def serving(home: Path, *arguments: object) -> Iterator[Server]:
    """Run a server until the block ends, and end it as systemd does."""
    server = Server(home, *arguments)
    try:
        yield server
        if server.process.poll() is None:
            assert server.stop() == 0, server.said
    finally:
        server.process.kill()
        server.process.wait(PATIENCE)
