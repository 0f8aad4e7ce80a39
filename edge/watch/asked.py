"""What a user asks of `watch` and `serve`, before anything of it is opened."""

from dataclasses import dataclass
from pathlib import Path

from edge.frigate.objects import WriteBack
from edge.learner import Learner
from edge.watch.unsure import Uncertain


@dataclass(frozen=True)
class Asked:
    """The options of `watch` and `serve`, as the user wrote them and `edge watch --help` describes them."""

    source: str | None  # None if nothing is watched
    region: str | None  # None for the stored one
    self_signed: bool
    every: float  # seconds
    smooth: str | None  # None to choose by the source, as `cool_down`
    hooks: tuple[tuple[str, str], ...]  # pairs of a label and a command
    cool_down: float | None  # seconds
    save_uncertain: Path | None
    below: float
    budget: float  # MB
    mqtt: str | None
    write_back: WriteBack | None = None

    def uncertain(self, learner: Learner) -> Uncertain | None:
        """Return the folder of uncertain frames, for the current region.

        Raises:
            SourceError: the folder cannot be written.
        """
        if self.save_uncertain is None:
            return None
        size = round(1e6 * self.budget)
        return Uncertain(self.save_uncertain, size, self.below, learner.region, learner.info.fit)
