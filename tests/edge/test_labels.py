"""Names: what a label may be called."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import LabelError
from edge.labels import MAX_LENGTH, clean
from tests.refused import refused


@pytest.mark.parametrize("name", ["glass", "tin can", "Dose 🥫", "👩‍🌾", "ガラス", "naïve", "a.b", "x" * MAX_LENGTH])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert clean(name) == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("x" * 300, "300 characters"),
        ("a/b", "'/'"),
        ("a\\b", "'\\'"),
        ("..", "begins with"),
        ("-rf", "begins with"),
        ("red\x1b[31m", "U+001B"),
        ("a\nb", "U+000A"),
        ("evil\u202egnp.exe", "U+202E"),
        ("\ud800", "U+D800"),
        ("Unknown", "reserved"),
    ],
)
def test_impossible_names_are_refused_by_what_is_wrong(name: str, says: str) -> None:
    with refused("label-invalid", LabelError) as error:
        clean(name)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


def test_accents_are_composed_so_that_equal_looking_names_are_equal() -> None:
    assert clean("nai\u0308ve") == clean("na\u00efve")


@given(st.text(max_size=120))
def test_cleaning_is_idempotent_or_refuses(name: str) -> None:
    try:
        label = clean(name)
    except LabelError:
        return
    assert clean(label) == label
    assert 1 <= len(label) <= MAX_LENGTH
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in label)
