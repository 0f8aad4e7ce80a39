"""docs/licences.md and docs/constraints.txt name what pyproject.toml asks for, and nothing that forbids its use."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
SHIPPED = [extra for extra in EXTRAS if extra not in ("dev", "docs")]


def section(extra: str) -> dict[str, tuple[str, str]]:
    """Version and licence of each package of an extra."""
    title = f"## `edge-transfer[{extra}]`" if extra else "## `edge-transfer` alone"
    text = PAGE.partition(f"{title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \**([\w.-]+?)\** \| (\S+) \| (.+) \|$", text, re.MULTILINE)
    return {canonicalize_name(name): (version, licence) for name, version, licence in rows}


@pytest.mark.parametrize("extra", SHIPPED)
def test_the_page_lists_what_each_extra_asks_for_in_a_version_that_fits(extra: str) -> None:
    listed = section("") | section(extra)
    for line in EXTRAS[extra]:
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        if extra == "tflite-runtime" and name == "numpy":
            continue  # the same package as above, of an older version
        assert name in listed, f"run: make licences ({extra or 'the program'} needs {wanted.name})"
        assert wanted.specifier.contains(listed[name][0].partition("+")[0], prereleases=True), "run: make licences"


def test_no_licence_forbids_to_use_it_in_a_program_of_any_kind() -> None:
    licences = {licence for extra in SHIPPED for _, licence in section(extra).values()}
    assert len(licences) > 5
    assert not [
        text for text in licences if re.search(r"(?<!L)\bA?GPL|non-?commercial|proprietary", text, re.IGNORECASE)
    ]


def test_the_constraints_are_versions_that_the_program_asks_for() -> None:
    lines = [line for line in (ROOT / "docs" / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert len(pins) == len(lines) > 50
    for extra in ("", "export", "camera", "mqtt", "web"):
        for line in EXTRAS[extra]:
            wanted = Requirement(line)
            assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)], prereleases=True), (
                "run: make licences"
            )
