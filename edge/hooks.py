"""`--on LABEL COMMAND`: run a program when what is seen settles on a label.

No shell reads the command: it is split into words as a shell would, and what was seen is handed over in the
environment, so that neither a label nor a file's name can become code.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edge.errors import SourceError
from edge.labels import RESERVED, clean
from edge.watch import Seen


class Hook(NamedTuple):
    """Run these words when this label is settled on ("unknown" included)."""

    label: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, label: str, command: str) -> "Hook":
        """Split a command.

        Raises:
            SourceError: its quotes do not close, it is empty, or there is no such program.
            LabelError: the label is no name.
        """
        label = RESERVED if label.strip().casefold() == RESERVED else clean(label)
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise SourceError(f"--on {label}: {command!r} cannot be split into words ({error}); close it") from None
        if not words or shutil.which(words[0]) is None:
            raise SourceError(
                f"--on {label}: there is no program '{words[0] if words else ''}'; give its path. No shell runs it: "
                "for pipes and variables write a script"
            )
        return cls(label, words)


class Hooks:
    """Starts programs and goes on; one that still runs is not started a second time.

    Args:
        hooks: what to run.
        home: handed over as EDGE_HOME.
    """

    def __init__(self, hooks: Sequence[Hook], home: Path) -> None:
        self._hooks = hooks
        self._home = home
        self._running: dict[Hook, subprocess.Popen[bytes]] = {}

    def run(self, seen: Seen) -> list[str]:
        """Start what is to run for a change; returns what went wrong, a line each."""
        problems = self.reap()
        for hook in self._hooks:
            if not seen.changed or hook.label != seen.settled:
                continue
            if hook in self._running:
                problems.append(f"--on {hook.label}: {hook.words[0]} still runs, it is not started again")
                continue
            environment = {
                **os.environ,
                "EDGE_HOME": str(self._home.absolute()),
                "EDGE_LABEL": hook.label,
                "EDGE_PROBABILITY": f"{seen.probability:.6f}",
                "EDGE_IMAGE": seen.image,
                "EDGE_TIME": seen.time,
            }
            try:  # what it prints goes to stderr: stdout is for answers
                self._running[hook] = subprocess.Popen(
                    hook.words, env=environment, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
                )
            except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
                problems.append(f"--on {hook.label}: {hook.words[0]} does not start ({error})")
        return problems

    def reap(self) -> list[str]:
        """Look which programs have ended; returns those that failed, a line each."""
        ended = {hook: process.returncode for hook, process in self._running.items() if process.poll() is not None}
        for hook in ended:
            del self._running[hook]
        return [f"--on {h.label}: {h.words[0]} failed with exit code {code}" for h, code in ended.items() if code]
