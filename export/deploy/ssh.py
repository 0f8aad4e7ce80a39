"""Run commands on another machine and send files to it, with the system's ssh and the user's keys and configuration.

Everything uses one connection, so that a password is asked for only once. No shell runs here; on the other machine, ssh
passes one string to the login shell, so every word is quoted. A file is sent under a temporary name and renamed once
its SHA-256 is right, so a file under its own name is complete and is not sent again.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from edge.errors import EdgeError
from edge.files import sha256

_HOST = re.compile(r"(?:[A-Za-z0-9_.][A-Za-z0-9_.+-]*@)?[A-Za-z0-9_\[][A-Za-z0-9_.:%\[\]-]*")
_LOST = 255  # ssh's exit code for its own failures
_RECEIVE = 'cat >"$1.partial" && echo "$2  $1.partial" | sha256sum -c --status && mv "$1.partial" "$1"'


class RemoteError(EdgeError, OSError):
    """The machine cannot be reached, or the connection broke."""


class Done(NamedTuple):
    """The output of a command, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """The last line of what it said, for an error's text."""
        lines = [line for text in (self.err, self.out) for line in text.strip().splitlines()[-1:]]
        return (lines or ["no reason was given"])[0].removeprefix("error: ")

    def json(self) -> Any:
        """Return the JSON in the last line of its output; a ValueError if there is none."""
        return json.loads("".join(self.out.splitlines()[-1:]))


class Remote:
    """A connection to `[USER@]HOST`.

    Raises:
        RemoteError: the host name is not valid, or ssh is not installed.
    """

    def __init__(self, host: str) -> None:
        if not _HOST.fullmatch(host):
            raise RemoteError(
                "address-invalid", f"{host!r} is not of the form [USER@]HOST; give for example pi@kitchen.local"
            )
        program = shutil.which("ssh")
        if program is None:
            raise RemoteError(
                "library-missing", "ssh is not installed; install it (Debian: sudo apt install openssh-client)"
            )
        self.host = host
        self._socket = tempfile.TemporaryDirectory(prefix="edge-")
        options = {
            "BatchMode": "no" if sys.stdin.isatty() else "yes",
            "ConnectTimeout": "15",
            "ServerAliveInterval": "10",
            "ServerAliveCountMax": "3",
            "ControlMaster": "auto",
            "ControlPersist": "60",
            "ControlPath": f"{self._socket.name}/%C",
        }
        self._ssh = [program, "-T", *[word for name, value in options.items() for word in ("-o", f"{name}={value}")]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._ssh, "-O", "exit", "--", self.host], capture_output=True, check=False)
        self._socket.cleanup()

    def run(self, *command: str, send: bytes = b"", hear: Callable[[str], None] | None = None) -> Done:
        """Run a command on the machine.

        Args:
            command: its words, passed on exactly.
            send: its standard input.
            hear: called with each line of its standard output as it comes.

        Raises:
            RemoteError: the connection failed or broke.
        """
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(send)
            given.seek(0)
            with subprocess.Popen(
                [*self._ssh, "--", self.host, shlex.join(command)], stdin=given, stdout=subprocess.PIPE, stderr=said
            ) as child:
                assert child.stdout is not None
                lines = []
                for raw in child.stdout:
                    lines.append(raw.decode(errors="replace"))
                    if hear:
                        hear(lines[-1].rstrip("\n"))
            said.seek(0)
            err = said.read().decode(errors="replace").strip()
        if child.returncode == _LOST:
            why = (err.splitlines() or ["the connection broke"])[-1].removeprefix("ssh: ").removesuffix(".")
            raise RemoteError(
                "device-unreachable", f"{self.host}: {why}; run the command again once this works: ssh {self.host}"
            )
        return Done(child.returncode, "".join(lines), err)

    def send(self, files: Sequence[Path], folder: str, tell: Callable[[str], None]) -> None:
        """Make a folder on the machine contain exactly these files; files that are there already are not sent again.

        Args:
            folder: the folder, relative to the user's home directory.
            tell: called with a line before each file that is sent.

        Raises:
            RemoteError: the connection broke, or the disk there is full.
        """
        hashes = {path: sha256(path) for path in files}
        self._must("mkdir", "-p", "-m", "700", "--", folder)
        listed = self.run("sh", "-c", 'cd "$1" && sha256sum -- * 2>/dev/null', "sh", folder).out.splitlines()
        there = {name: digest for digest, _, name in (line.partition("  ") for line in listed)}
        names = {path.name for path in files}
        stale = [f"{folder}/{name}" for name in there if name not in names]
        if stale:
            self._must("rm", "-f", "--", *stale)
        for path, digest in hashes.items():
            if there.get(path.name) != digest:
                tell(f"sending {path.name} ({path.stat().st_size / 1e6:.1f} MB)")
                self._must("sh", "-c", _RECEIVE, "sh", f"{folder}/{path.name}", digest, send=path.read_bytes())

    def _must(self, *command: str, send: bytes = b"") -> None:
        done = self.run(*command, send=send)
        if done.code:
            why = (done.err.splitlines() or [f"{command[0]} failed there with exit code {done.code}"])[-1]
            raise RemoteError(
                "device-unreachable", f"{self.host}: {why}; check the disk there and run the command again"
            )
