"""Labels that may mean the same: proposed with a reason, confirmed by a person, and read back as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.fleet.synonyms import Proposal, propose, read, write
from tests.refused import refused


def proposed(*labels: str, together: bool = False) -> set[tuple[str, str]]:
    sets = [frozenset(labels)] if together else [frozenset({label}) for label in labels]
    found = propose(dict.fromkeys(labels, 3), sets, {})
    return {(min(one.label, one.kept), max(one.label, one.kept)) for one in found}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Mug", "mug"),
        ("mug", "mugs"),
        ("tin can", "tin-can"),
        ("café", "cafe"),
        ("gravel", "gravle"),
        ("bottle", "botle"),
    ],
)
def test_names_that_are_nearly_the_same_are_proposed(a: str, b: str) -> None:
    assert proposed(a, b) == {(min(a, b), max(a, b))}


@pytest.mark.parametrize(("a", "b"), [("cup", "cap"), ("lane 1", "lane 2"), ("glass", "grass jar"), ("open", "shut")])
def test_other_names_are_not(a: str, b: str) -> None:
    assert proposed(a, b) == set()


def test_labels_that_one_device_uses_side_by_side_are_two_things() -> None:
    assert proposed("mug", "mugs", together=True) == set()


def test_labels_whose_pictures_nobody_can_tell_apart_are_proposed_and_others_are_not() -> None:
    labels = {"beaker": 12, "glass": 12}
    sets = [frozenset({label}) for label in labels]
    assert len(propose(labels, sets, {("beaker", "glass"): (12, 12)})) == 1
    assert propose(labels, sets, {("beaker", "glass"): (22, 2)}) == []
    assert propose(labels, sets, {("beaker", "glass"): (1, 1)}) == [], "two devices are too few to say"


def test_a_proposal_changes_nothing_until_a_person_confirms_it(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(write([Proposal("mugs", "mug", "why")], {"beaker": "glass"}))
    assert read(file) == {"beaker": "glass"}
    file.write_text(file.read_text().replace('# "mugs"', '"mugs"'))
    assert read(file) == {"beaker": "glass", "mugs": "mug"}


WORDS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\\u0300"), min_size=1, max_size=9)


@given(st.dictionaries(WORDS.map(lambda word: f"a{word}"), WORDS.map(lambda word: f"b{word}"), max_size=5))
def test_any_labels_are_read_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, pairs: dict) -> None:
    import unicodedata

    pairs = {unicodedata.normalize("NFC", a): unicodedata.normalize("NFC", b) for a, b in pairs.items()}
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_text(write([], pairs))
    assert read(file) == pairs


def test_labels_follow_each_other_to_the_end_and_never_in_a_circle(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text('"a" = "b"\n"b" = "c"\n')
    assert read(file) == {"a": "c", "b": "c"}
    file.write_text('"a" = "b"\n"b" = "a"\n')
    with refused("labels-file-invalid"):
        read(file)


@pytest.mark.parametrize(
    "line", ["mug = cup", '"mug" = ""', '"mug" = "a/b"', '"mug"', '"mug" = "mug"', '"a" = "b"\n"a" = "c"']
)
def test_a_line_that_is_no_pair_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(f"# a comment\n{line}\n")
    with refused("labels-file-invalid") as caught:
        read(file)
    assert f"line {2 + line.count(chr(10))}" in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with refused("file-unreadable"):
        read(tmp_path / "missing.txt")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\n")
    with refused("labels-file-invalid"):
        read(tmp_path / "bytes")
