"""Labels that may mean the same: proposed in a text file, confirmed by a person, applied by `fleet merge --labels`.

The file holds one pair a line, both labels in double quotes. A proposal begins with `#`, which makes it a comment; to
confirm it, remove that sign ::

    # "mugs" = "mug"   their names are nearly the same; 3 and 41 devices
    "beaker" = "glass"

In a confirmed pair, examples of the first label count as the second. Two labels are proposed only if no device uses
both, because on a device with both they mean two things. In addition, their names must be nearly the same, or their
pictures indistinguishable: of the devices that use one of the labels, significantly fewer than three quarters are
nearer to the other devices with that label than to the devices with the other label.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edge.errors import FleetError, LabelError, disk_errors_as
from edge.labels import clean
from edge.metrics.evaluate import wilson

APART = 0.75  # fraction of devices nearer to their own label from which two labels count as different
_TEXT = r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf"\s*({_TEXT})\s*=\s*({_TEXT})\s*(?:#.*)?")
_MAX_FILE = 4_000_000  # bytes
_HEADER = """# Labels that may mean the same. To confirm a pair, remove its "#": the first then counts as the second.
# Then run: edge-export fleet merge URL --labels THIS_FILE ...
"""


class Proposal(NamedTuple):
    """Two labels that may mean the same: the rarer one, the one to keep, and why."""

    label: str
    kept: str
    why: str


def propose(
    devices: Mapping[str, int],
    together: Iterable[frozenset[str]],
    nearer: Mapping[tuple[str, str], tuple[int, int]],
) -> list[Proposal]:
    """Propose labels that may mean the same.

    Args:
        devices: the number of devices that use each label.
        together: the sets of labels used on a device.
        nearer: for sorted pairs of labels, the number of devices nearer to their own label, and of those nearer to the
            other; pairs that nobody confuses may be missing.

    >>> propose({"mug": 3, "Mugs": 1}, [frozenset({"mug"}), frozenset({"Mugs"})], {})
    [Proposal(label='Mugs', kept='mug', why='their names are nearly the same; 1 and 3 devices')]
    """
    apart = {(a, b) for labels in set(together) for a in labels for b in labels if a < b}
    found: dict[tuple[str, str], str] = {}
    for a, b in _near_names(sorted(devices)):
        found[a, b] = "their names are nearly the same"
    for (a, b), (own, other) in nearer.items():
        if wilson(own, own + other)[1] < APART:
            found.setdefault((a, b), f"of {own + other} devices, {other} look more like the other label")
    proposals = []
    for (a, b), why in sorted(found.items()):
        if (a, b) in apart:
            continue
        rare, kept = sorted((a, b), key=lambda label: (devices[label], label))
        proposals.append(Proposal(rare, kept, f"{why}; {devices[rare]} and {devices[kept]} devices"))
    return proposals


def write(proposals: Sequence[Proposal], confirmed: Mapping[str, str]) -> str:
    """Return the file's text: the confirmed pairs, then the proposals."""
    lines = [f"{_quoted(a)} = {_quoted(b)}" for a, b in sorted(confirmed.items())]
    lines += [
        f"# {_quoted(one.label)} = {_quoted(one.kept)}   # {one.why}" for one in proposals if one.label not in confirmed
    ]
    return _HEADER + "".join(f"{line}\n" for line in lines)


def read(path: Path) -> dict[str, str]:
    """Read which labels count as which others, following chains of pairs to the end.

    Raises:
        FleetError: the file cannot be read, a line is not a pair, or the pairs form a cycle.
    """
    unreadable = disk_errors_as(FleetError, "file-unreadable", f"{path} cannot be read", "check the path")
    with unreadable, path.open("rb") as file:
        text = file.read(_MAX_FILE + 1)
    if len(text) > _MAX_FILE:
        raise FleetError("labels-file-invalid", f"{path} has more than {_MAX_FILE} bytes; give a file of pairs")
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError:
        raise FleetError("labels-file-invalid", f"{path} is not UTF-8 text; save it as such") from None
    pairs: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _PAIR.fullmatch(line)
        try:
            if match is None:
                raise ValueError('expected "LABEL" = "LABEL"')
            one, other = clean(json.loads(match[1])), clean(json.loads(match[2]))
            if pairs.setdefault(one, other) != other or one == other:
                raise ValueError(f"{one!r} already counts as {pairs[one]!r}" if one != other else "both are the same")
        except (ValueError, LabelError) as error:
            raise FleetError("labels-file-invalid", f"{path}, line {number}: {error}; correct the line") from None
    return {label: _end(path, pairs, label) for label in pairs}


def _end(path: Path, pairs: Mapping[str, str], label: str) -> str:
    seen = [label]
    while seen[-1] in pairs:
        seen.append(pairs[seen[-1]])
        if seen[-1] in seen[:-1]:
            chain = " = ".join(map(repr, seen))
            raise FleetError("labels-file-invalid", f"{path}: labels lead back to themselves ({chain}); remove a line")
    return seen[-1]


def _near_names(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of labels that differ in case, accents, separators, a plural, or one letter of at least five."""
    keys: dict[str, set[str]] = {}
    for label in labels:
        plain = _plain(label)
        for key in {plain, *(plain[:i] + plain[i + 1 :] for i in range(len(plain)) if len(plain) >= 6)}:
            keys.setdefault(key, set()).add(label)
    pairs = {(a, b) for same in keys.values() for a in same for b in same if a < b}
    return sorted((a, b) for a, b in pairs if _digits(a) == _digits(b) and _one_letter(_plain(a), _plain(b)))


def _one_letter(a: str, b: str) -> bool:
    """Whether two words differ by at most one letter, or by two swapped neighbouring letters."""
    if a == b:
        return True
    if min(len(a), len(b)) < 5 or abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if len(a) == len(b):
        return a[start + 1 :] == b[start + 1 :] or (a[start + 2 :] == b[start + 2 :] and Counter(a) == Counter(b))
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return longer[start + 1 :] == shorter[start:]


def _plain(label: str) -> str:
    folded = unicodedata.normalize("NFKD", label.casefold())
    word = "".join(c for c in folded if c.isalnum())
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _digits(label: str) -> str:
    return "".join(c for c in label if c.isdigit())


def _quoted(label: str) -> str:
    return json.dumps(label, ensure_ascii=False)
