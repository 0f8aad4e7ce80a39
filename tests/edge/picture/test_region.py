"""A region is one thing however it is written: what was given, what is kept, and what is shown are equal."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import SourceError
from edge.learner import Learner
from edge.picture.region import Region
from tests.refused import refused

_NUMBER = st.floats(0, 1, allow_nan=False)


@given(_NUMBER, _NUMBER, _NUMBER, _NUMBER, st.integers(0, 20), st.integers(1, 5000), st.integers(1, 5000))
def test_what_is_written_of_a_region_is_read_as_the_same(
    left: float, top: float, width: float, height: float, digits: int, columns: int, rows: int
) -> None:
    try:
        region = Region.parse(",".join(f"{number:.{digits}f}" for number in (left, top, width, height)))
    except SourceError:
        return
    assert Region.parse(str(region)) == region
    assert str(Region.parse(str(region))) == str(region)
    box = region.box(columns, rows)
    assert 0 <= box.left < box.right <= columns
    assert 0 <= box.top < box.bottom <= rows


@given(_NUMBER, _NUMBER, _NUMBER, _NUMBER)
def test_what_the_program_before_kept_is_read_and_stays_the_same(
    left: float, top: float, width: float, height: float
) -> None:
    if left + width > 1 or top + height > 1 or min(width, height) < 0.01:
        return
    kept = ",".join(f"{number:.6g}" for number in (left, top, width, height))
    assert Region.parse(str(Region.parse(kept))) == Region.parse(kept)


def test_a_region_given_again_changes_nothing(tmp_path: Path, tiny_bundle: Path) -> None:
    learner = Learner.init(tmp_path / "home", tiny_bundle)
    for text in ("0.12345678,0.1,0.87654322,0.5", "0.3333333333,0,0.6666666667,1", "-0,0,1,1"):
        learner.put_region(Region.parse(text))
        assert learner.region == Region.parse(text)
        assert learner.put_region(Region.parse(text)) == 0
    assert str(learner.region) == "0,0,1,1"
    learner.close()


@pytest.mark.parametrize(
    "text", ["nan,0,1,1", "0,0,inf,1", "0.5,0,0.6,1", "0,0,0.001,1", "0,0,1", "-0.1,0,1,1", "1e400,0,1,1"]
)
def test_what_is_not_within_the_picture_is_refused(text: str) -> None:
    with refused("region-invalid", SourceError, "region"):
        Region.parse(text)
