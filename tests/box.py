"""A whole machine to try things on and throw away: this one, with a layer in memory that takes all changes of its disk.

Needs root and Linux's overlay file system; what is done inside, to users, /opt and /etc, leaves no trace.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Self

_SETUP = """
set -e
mount -t tmpfs -o mode=755 box "$1"
mkdir "$1/upper" "$1/work" "$1/machine"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/machine"
mount -t proc proc "$1/machine/proc"
mount --rbind /dev "$1/machine/dev"
mount -t tmpfs run "$1/machine/run"
mount -t tmpfs tmp "$1/machine/tmp"
echo ready
exec sleep infinity
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Box:
    """A throwaway copy of this machine; `root` is its file system as seen from inside the mount namespace."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "machine"
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", _SETUP, "box", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"ready\n":
            assert self._keeper.stderr is not None
            reason = self._keeper.stderr.read().decode().strip()
            self.close()
            raise OSError(reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back. What still runs inside keeps its own files alive and nothing else."""
        self._keeper.kill()
        self._keeper.wait()

    def command(self, *command: str, user: str = "root") -> list[str]:
        """Return the command line that runs a command inside."""
        inside = ["nsenter", "--mount", f"--target={self._keeper.pid}", "chroot", str(self._root)]
        home = "/root" if user == "root" else f"/home/{user}"
        switch = [] if user == "root" else ["runuser", "-u", user, "--"]
        return [*inside, *switch, "env", "-i", "-C", home, f"PATH={_PATH}", f"HOME={home}", *command]

    def run(self, *command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return subprocess.run(self.command(*command, user=user), capture_output=True, text=True, timeout=3600)

    def put(self, source: Path, target: str) -> None:
        """Copy a file or folder of this machine to a place inside."""
        with subprocess.Popen(["tar", "-C", str(source.parent), "-c", source.name], stdout=subprocess.PIPE) as packed:
            subprocess.run(self.command("tar", "-C", target, "-x", "--no-same-owner"), stdin=packed.stdout, check=True)


def missing(*programs: str) -> str:
    """Say which programs are missing here, or ""."""
    absent = [p for p in programs if shutil.which(p, path=_PATH) is None]
    return f"not here: {', '.join(absent)}" if absent else ""
