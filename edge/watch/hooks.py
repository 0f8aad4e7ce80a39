"""`--on LABEL COMMAND`: run a program when the answer settles on a label.

No shell is used: the command is split into words as a shell would, and the answer is passed in environment variables,
so neither a label nor a file name can become code.
"""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from edge.answers import Seen
from edge.errors import LabelError, SourceError
from edge.labels import RESERVED, clean

# addresses with passwords, and what systemd told this process alone
_KEPT_BACK = {"EDGE_MQTT", "EDGE_SOURCE", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}


class Hook(NamedTuple):
    """The words of a command, and the label (or "unknown") for which it is run."""

    label: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, label: str, command: str) -> "Hook":
        """Split a command.

        Raises:
            LabelError: the label is not valid.
            SourceError: the command is empty, lacks a closing quote, or names no program.
        """
        try:
            label = RESERVED if label.strip().casefold() == RESERVED else clean(label)
        except LabelError as error:
            raise LabelError("label-invalid", f"--on: {error}") from None
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise SourceError(
                "option-invalid", f"--on {label}: {command!r} cannot be split into words ({error}); close the quotation"
            ) from None
        if not words or shutil.which(words[0]) is None:
            raise SourceError(
                "option-invalid",
                f"--on {label}: program '{words[0] if words else ''}' was not found; give its path. It is not "
                "run by a shell: if you need pipes or variables, write a script",
            )
        return cls(label, words)


class Hooks:
    """Starts programs without waiting for them.

    If a program is still running, or was started less than `cool_down` seconds ago, it is started again later, provided
    that its label is still the answer then.

    Args:
        home: passed to the programs as EDGE_HOME.
        cool_down: least number of seconds between two starts of a program.
        last: the label for which programs were last run, perhaps by an earlier process.
        remember: stores that label for the next process.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        home: Path,
        cool_down: float = 0.0,
        last: str | None = None,
        remember: Callable[[str], None] = lambda label: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hooks = hooks
        self._home = home
        self._cool_down = cool_down
        self._last = last
        self._remember = remember
        self._clock = clock
        self._running: dict[Hook, subprocess.Popen[bytes]] = {}
        self._started: dict[Hook, float] = {}
        self._due: dict[Hook, Seen] = {}

    def run(self, seen: Seen) -> list[str]:
        """Start the programs of a changed answer, now or as soon as they may; returns one line per failure."""
        problems = self.reap()
        if not seen.changed or seen.settled is None or seen.settled == self._last:
            return problems
        self._last = seen.settled
        self._due = {hook: seen for hook in self._hooks if hook.label == seen.settled}
        problems += self._start_due()
        for hook in self._due:
            why = "still runs" if hook in self._running else f"was started less than {self._cool_down:g} s ago"
            problems.append(
                f"--on {hook.label}: {hook.words[0]} {why}; it will be started later if the answer is still the same"
            )
        return problems

    def reap(self) -> list[str]:
        """Check which programs have ended, and start those that were waiting; returns one line per failure."""
        ended = {hook: process.returncode for hook, process in self._running.items() if process.poll() is not None}
        for hook in ended:
            del self._running[hook]
        failed = [f"--on {h.label}: {h.words[0]} failed with exit code {code}" for h, code in ended.items() if code]
        return failed + (self._start_due() if self._due else [])

    def _start_due(self) -> list[str]:
        problems = []
        now = self._clock()
        for hook, seen in list(self._due.items()):
            if hook in self._running or now - self._started.get(hook, float("-inf")) < self._cool_down:
                continue
            del self._due[hook]
            self._started[hook] = now
            try:  # what it prints goes to stderr: stdout is for answers
                self._running[hook] = subprocess.Popen(
                    hook.words, env=self._environment(hook, seen), stdin=subprocess.DEVNULL, stdout=2,
                    start_new_session=True,
                )  # fmt: skip
            except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
                problems.append(f"--on {hook.label}: {hook.words[0]} does not start ({error})")
        if not self._due and self._last is not None:  # one that waits is run by the next process, if we are stopped
            self._remember(self._last)
        return problems

    def _environment(self, hook: Hook, seen: Seen) -> dict[bytes, bytes]:
        """The program's environment, in bytes: labels are UTF-8 in any locale, and a file name keeps its bytes."""
        told = {
            "EDGE_HOME": os.fsencode(self._home.absolute()),
            "EDGE_LABEL": hook.label.encode(),
            "EDGE_PROBABILITY": f"{seen.probability:.6f}".encode(),
            "EDGE_IMAGE": os.fsencode(seen.image),
            "EDGE_TIME": seen.time.encode(),
        }
        ours = {key: os.fsencode(value) for key, value in os.environ.items() if key not in _KEPT_BACK}
        return {os.fsencode(key): value for key, value in (ours | told).items()}
