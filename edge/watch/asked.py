"""What a user asks of `watch` and `serve`, before anything of it is opened."""

from dataclasses import dataclass
from pathlib import Path

from edge.frigate.objects import WriteBack
from edge.learner import Learner
from edge.watch.unsure import Uncertain


@dataclass(frozen=True)
class Asked:
    """The options of `watch` and `serve`.

    Args:
        source: as the user wrote it; None if nothing is watched.
        region: as the user wrote it; None for the stored one.
        self_signed: accept any certificate of an https camera.
        every: seconds between frames.
        smooth: "N/M"; None to choose by the source.
        hooks: pairs of a label and a command.
        cool_down: least number of seconds between two starts of a command; None to choose by the source.
        save_uncertain: folder for uncertain frames, or None.
        below: frames whose probability is below this are uncertain.
        budget: space for saved frames, in MB.
        mqtt: the broker's address, or None.
        write_back: where the answers for Frigate's tracked objects are written to; None: to the sub label.
    """

    source: str | None
    region: str | None
    self_signed: bool
    every: float
    smooth: str | None
    hooks: tuple[tuple[str, str], ...]
    cool_down: float | None
    save_uncertain: Path | None
    below: float
    budget: float
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
