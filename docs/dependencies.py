"""What this program needs, from what is installed here: the page of licences, and the constraints of the workstation.

    python docs/dependencies.py licences      > docs/licences.md
    python docs/dependencies.py constraints   > docs/constraints.txt

Both follow the requirements of each extra down to the last one. The environments of the device and of Flower are read
as well, for what the workstation's cannot hold: tflite-runtime and its NumPy 1, and Flower.
"""

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

OURS = "edge-transfer"
ALSO = [str(path) for name in ("device", "flower") for path in Path().glob(f".venv-{name}/lib/python3*/site-packages")]
WORKSTATION = ("", "export", "camera", "demo", "fleet", "heic", "mqtt", "web")
NOT_SHIPPED = {"dev": "tools of development", "docs": "tools for the website"}
_SHORT = {
    "Apache Software License": "Apache-2.0", "MIT License": "MIT", "BSD License": "BSD", "ISC License (ISCL)": "ISC",
    "Apache License, Version 2.0": "Apache-2.0", "Apache License 2.0": "Apache-2.0", "Apache 2.0": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Eclipse Public License v2.0 / Eclipse Distribution License v1.0": "EPL-2.0 OR BSD-3-Clause",
    "ISC License": "ISC", "Apache 2.0 License": "Apache-2.0", "UNKNOWN": "not stated",
    "BSD 3-Clause License": "BSD-3-Clause", "BSD 2-Clause License": "BSD-2-Clause",
}  # fmt: skip


class Needed(NamedTuple):
    """A package that is needed, its licence as it says itself, and whether we ask for it by name."""

    name: str
    version: str
    licence: str
    directly: bool


def needed(extra: str) -> list[Needed]:
    """Return all that an extra needs, "" the program alone, sorted by name.

    Raises:
        metadata.PackageNotFoundError: one of our own requirements is not installed.
    """
    found: dict[str, Needed] = {}
    own = metadata.distribution(OURS)
    queue = [(requirement, True) for requirement in _requirements(own, {extra, ""}, own_extras=bool(extra))]
    while queue:
        requirement, directly = queue.pop(0)
        key = _key(requirement.name)
        if key == _key(OURS):
            queue += [(one, directly) for extra in requirement.extras for one in _requirements(own, {extra}, True)]
            continue
        if key in found:
            continue
        try:
            distribution = _distribution(requirement)
        except metadata.PackageNotFoundError:
            if directly:
                raise
            continue  # an alternative that pip did not need here
        found[key] = Needed(distribution.name, distribution.version, licence(distribution.metadata), directly)
        queue += [(one, False) for one in _requirements(distribution, {"", *requirement.extras}, False)]
    return sorted(found.values(), key=lambda one: one.name.lower())


def licence(about: metadata.PackageMetadata) -> str:
    """Return a package's licence in one line: its expression, else its classifiers, else the beginning of its text."""
    expression = about.get("License-Expression")
    if expression:
        return expression
    classifiers = [
        text.split(" :: ")[-1] for text in about.get_all("Classifier") or () if text.startswith("License ::")
    ]
    classifiers = [text for text in classifiers if text != "OSI Approved"]
    text = " ".join((about.get("License") or "").split())
    if text and len(text) < 60:
        return _SHORT.get(text, text)
    if classifiers:
        return " OR ".join(_SHORT.get(text, text) for text in classifiers)
    return _SHORT.get(text[:60], text[:60]) or "not stated"


def licences() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Licences of what it needs"
    yield ""
    yield f"{OURS} itself is under Apache-2.0. It contains no code of others. This page is made by `make licences` from"
    yield "what the packages say of themselves; the versions are those that were installed then. Packages in **bold**"
    yield "are asked for by name, the others are needed by these. An extra is listed without what the program needs"
    yield "anyway. The licences of networks' weights are in [backbones.md](backbones.md)."
    base = {one.name for one in needed("")}
    for extra in ("", *sorted(extras() - {""})):
        if extra in NOT_SHIPPED:
            continue
        try:
            rows = needed(extra)
        except metadata.PackageNotFoundError as missing:
            yield from ("", f"## `{OURS}[{extra}]`", "", f"Not listed: {missing.args[0]} was not installed here.")
            continue
        rows = [one for one in rows if one.name not in base or not extra]
        title = f"`{OURS}[{extra}]`" if extra else f"`{OURS}` alone"
        yield from ("", f"## {title}", "")
        yield from ("| package | version | licence |", "|---|---|---|")
        for one in rows:
            name = f"**{one.name}**" if one.directly else one.name
            yield f"| {name} | {one.version} | {one.licence.replace('|', '/')} |"
    names = ", ".join(f"`{extra}` ({why})" for extra, why in NOT_SHIPPED.items())
    yield from ("", f"The extras {names} are not installed by a user and are not listed.")


def constraints() -> Iterator[str]:
    """Yield the lines of the constraints file."""
    python = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    yield f"# Versions with which the workstation of {OURS} was tested together, on {python}:"
    yield f"# pip install '{OURS}[export,camera,mqtt,web]' -c docs/constraints.txt"
    for name, version in sorted({(one.name.lower(), one.version) for extra in WORKSTATION for one in needed(extra)}):
        yield f"{name}=={version.partition('+')[0]}"


def extras() -> set[str]:
    """Return the names of our extras, and "" for none."""
    return {"", *(metadata.metadata(OURS).get_all("Provides-Extra") or ())}


def _requirements(distribution: metadata.Distribution, extras: set[str], own_extras: bool) -> list[Requirement]:
    """What a distribution requires here; with `own_extras`, only what its extras add."""
    found = []
    for line in distribution.requires or ():
        one = Requirement(line)
        plain = one.marker is None or one.marker.evaluate({"extra": ""})
        if (not own_extras and plain) or (
            not plain and one.marker and any(one.marker.evaluate({"extra": e}) for e in extras)
        ):
            found.append(one)
    return found


def _distribution(requirement: Requirement) -> metadata.Distribution:
    """The installed one that fits, here or in the other environments."""
    places = [list(metadata.distributions(name=requirement.name))]
    places += [list(metadata.distributions(name=requirement.name, path=[path])) for path in ALSO]
    candidates = [one for place in places for one in place]
    for one in candidates:
        if requirement.specifier.contains(one.version, prereleases=True):
            return one
    raise metadata.PackageNotFoundError(str(requirement))


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    print("\n".join({"licences": licences, "constraints": constraints}[sys.argv[1]]()))
