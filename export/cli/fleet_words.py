"""What `edge-export fleet` prints: its figures, devices and refusals in words, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge.cli.terminal import complain, say, table
from edge.text import percent, plural

if TYPE_CHECKING:
    from export.fleet.collect import Collected
    from export.fleet.gather import Refused
    from export.fleet.report import Line, Report
    from export.pool.truth import Accuracy

SHOWN = 40  # devices in a table, and refusals in full


def figure(figure: Accuracy | None) -> dict[str, Any] | None:
    """Return a figure as JSON."""
    if figure is None:
        return None
    low, high = figure.interval
    return {
        "accuracy": figure.accuracy, "low": low, "high": high, "examples": figure.examples, "devices": figure.devices
    }  # fmt: skip


def said(figure: Accuracy) -> str:
    """Return a figure in words."""
    low, high = figure.interval
    of = f"{plural(figure.examples, 'example')} of {plural(figure.devices, 'device')}"
    return f"{percent(figure.accuracy)} ({percent(low)} to {percent(high)}), {of}"


def complain_of(refused: Iterable[Refused]) -> None:
    """Name the contributions that do not count: the first ones in full, then how many there are for each reason."""
    every = list(refused)
    for one in every[:SHOWN]:
        complain(f"refused: {one.why}")
    if every:
        counts = sorted(Counter(one.code for one in every).items())
        told = ", ".join(f"{count:,} {code}" for code, count in counts)
        complain(f"refused: {plural(len(every), 'contribution')} ({told})")


def signatures(signed: int, devices: int, checked: bool) -> str:
    """Say whether signatures count."""
    if checked:
        return f"signatures: all {devices:,} were checked"
    if signed:
        return f"signatures: {signed:,} of {devices:,} contributions have one; not checked (--signers FILE)"
    return "signatures: none; who may write to the store may contribute"


def device(line: Line) -> dict[str, Any]:
    """A device as JSON."""
    from edge.fleet.header import Serves
    from export.pool.truth import Judged

    judged, serves = line.judged or Judged(line.device, examples=0, measured=0, right=0), line.serves or Serves()
    return {
        "device": line.device,
        "seen": line.seen.isoformat(timespec="seconds"),
        "examples": line.examples,
        "release": serves.release,
        "verdict": serves.verdict,
        "verdict_why": serves.why,
        "local_accuracy": serves.accuracy,
        "signed": line.signed,
        "doubled": line.doubled,
        "undone": line.undone,
        "refused": line.refused.code if line.refused else None,
        "counted": judged.examples,
        "measured": judged.measured,
        "fleet": judged.fleet,
        "alone": judged.alone,
        "gain": judged.gain,
        "suspicious": judged.suspicious,
        "chance": judged.chance if line.judged else None,
        "different": [asdict(one) for one in judged.different],
        "harm": asdict(judged.harm) if judged.harm else None,
        "why": line.why,
    }


def status_lines(found: Report) -> list[str]:
    """A fleet in words."""
    rows = [("DEVICE", "SEEN", "EXAMPLES", "LABELS", "SERVES", "FLEET", "ALONE", "WHY")]
    for line in found.lines[:SHOWN]:
        judged, serves = line.judged, line.serves
        release = f"{serves.release} {serves.verdict}" if serves and serves.release else "–"
        rows.append((
            line.device[:12],
            line.seen.astimezone().strftime("%Y-%m-%d %H:%M"),
            f"{sum(line.examples.values()):,}",
            f"{len(line.examples)}",
            release,
            percent(judged.fleet) if judged and judged.fleet is not None else "–",
            percent(judged.alone) if judged and judged.alone is not None else "–",
            f"refused: {line.refused.code}" if line.refused else line.why,
        ))  # fmt: skip
    lines = table(rows, right=(2, 3, 5, 6))
    if len(found.lines) > SHOWN:
        lines.append(f"… and {len(found.lines) - SHOWN:,} more devices; --json lists them all")
    suspicious = [line.device for line in found.lines if line.judged and line.judged.suspicious]
    lines.append(f"{plural(len(found.lines), 'device')}, {len(suspicious):,} of them suspicious")
    if found.accuracy:
        lines.append(f"accuracy with each device left out: {said(found.accuracy)}")
    elif found.unmeasured:
        lines.append(f"accuracy: cannot be measured yet: {found.unmeasured}")
    gains = [line.judged.gain for line in found.lines if line.judged and line.judged.gain is not None]
    if gains:
        average, gaining = sum(gains) / len(gains), sum(gain > 0 for gain in gains)
        lines.append(
            f"{gaining:,} of {plural(len(gains), 'device')} gain by joining, {100 * average:+.1f} points on average"
        )
    if suspicious:
        lines.append(f"to leave one out of every merge: edge-export fleet undo URL {suspicious[0][:12]}")
    return lines


def say_collected(one: Collected) -> None:
    """Say what came of a host."""
    if one.error:
        complain(f"failed: {one.error}")
    else:
        known = "" if one.new else ", which is there already"
        say(f"{one.host}: {plural(one.examples, 'example')} of device {one.device[:12]}{known}")
