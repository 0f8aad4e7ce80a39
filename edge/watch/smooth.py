"""Settle on one label although single answers change: N of the last M must agree. Pure."""

from collections import deque
from dataclasses import dataclass

from edge.errors import SourceError


@dataclass(frozen=True)
class Rule:
    """At least `agree` of the last `of` answers.

    >>> Rule.parse("3/5")
    Rule(agree=3, of=5)
    """

    agree: int
    of: int

    @classmethod
    def usual(cls, live: bool) -> "Rule":
        """The default rule: three of the last five answers for a camera, each answer for a folder or video file."""
        return cls(3, 5) if live else cls(1, 1)

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read "N/M".

        Raises:
            SourceError: not 1 ≤ N ≤ M, or N is at most half of M.
        """
        agree, _, of = text.partition("/")
        if not (agree.isdecimal() and of.isdecimal() and 1 <= int(agree) <= int(of) <= 1000):
            raise SourceError(
                "option-invalid", f"--smooth '{text}' is not N/M with N at most M; write 3/5 for three of the last five"
            )
        if 2 * int(agree) <= int(of):
            raise SourceError(
                "option-invalid",
                f"--smooth '{text}': two labels could agree at once; choose more than half, such as 3/5",
            )
        return cls(int(agree), int(of))


class Smoother:
    """Takes answers one by one, and gives the label on which they settle.

    >>> smoother = Smoother(Rule(2, 3))
    >>> [smoother.add(name) for name in ["open", "shut", "shut", "open", "shut", "open", "open"]]
    [None, None, 'shut', 'shut', 'shut', 'open', 'open']
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._last: deque[str] = deque(maxlen=rule.of)
        self.settled: str | None = None

    def add(self, name: str) -> str | None:
        """Take one answer; return the last label on which enough answers agreed."""
        self._last.append(name)
        if self._last.count(name) >= self._rule.agree:
            self.settled = name
        return self.settled

    def forget(self) -> None:
        """Start again, after a camera was gone."""
        self._last.clear()
        self.settled = None
