"""What counts as lost after a power cut: the judge of `make torture`, without the emulator."""

from typing import Any

import pytest

from benchmarks.torture.powercut import Known, Tally


def after(
    console: str, numbers: list[list[int]], generations: int = 1, serving: int = 1, wrong: tuple[str, ...] = ()
) -> Tally:
    """Let the console say these lines, and the home this after the cut."""
    known, tally = Known(generations={1}, serving=1), Tally()
    for line in console.splitlines():
        known.listen(line.strip())
    state: dict[str, Any] = {
        "numbers": numbers,
        "generations": [[1, generations + 1]],
        "serving": serving,
        "wrong": list(wrong),
    }
    assert known.judge(state, tally) == (not wrong)
    return tally


def test_what_was_acknowledged_must_be_there() -> None:
    assert after("begin teach 0 4\n done teach 0 4", [[0, 4]]).wrong == []
    (line,) = after("begin teach 0 4\n done teach 0 4", [[0, 3]]).wrong
    assert "1 of 4 acknowledged examples are gone" in line


def test_a_picture_taught_when_the_power_went_may_be_there_or_not_but_not_half_of_its_company() -> None:
    before, done = after("begin teach 0 4", []), after("begin teach 0 4", [[0, 4]])
    assert (before.old, before.new, before.wrong) == (1, 0, [])
    assert (done.old, done.new, done.wrong) == (0, 1, [])
    assert "2 of 4 taught at once" in after("begin teach 0 4", [[0, 2]]).wrong[0]


@pytest.mark.parametrize("change", ["retrain", "init"])
def test_a_generation_under_way_is_made_or_not(change: str) -> None:
    assert after(f"begin {change}", [], 1).old == 1
    assert after(f"begin {change}", [], 2, 2).new == 1
    assert after(f"begin {change}", [], 2, 1).new == 1, "a candidate"
    assert "half done" in after(f"begin {change}", [], 3, 3).wrong[0]
    assert "are gone" in after(f"begin {change}\n done {change} 2 2", [], 1).wrong[0]


def test_forgetting_removes_the_example_and_makes_a_head_in_one() -> None:
    console = "begin teach 0 4\n done teach 0 4\n begin forget 2"
    assert after(console, [[0, 4]], 1).old == 1
    assert after(console, [[0, 2], [3, 4]], 2, 2).new == 1
    assert "half done" in after(console, [[0, 2], [3, 4]], 1).wrong[0]
    assert "half done" in after(console, [[0, 4]], 2, 2).wrong[0]
    assert "forgotten" in after(f"{console}\n done forget 2 2", [[0, 4]], 2, 2).wrong[0]


def test_what_serves_is_what_served_or_what_was_asked_for() -> None:
    console = "begin retrain\n done retrain 2 2\n begin rollback 1"
    assert after(console, [], 2, 2).old == 1
    assert after(console, [], 2, 1).new == 1
    assert "serves" in after(f"{console}\n done rollback 2 1", [], 2, 2).wrong[0]


def test_damage_ends_it() -> None:
    assert after("begin teach 0 1", [], wrong=("HomeError: it is damaged",)).wrong == [
        "cut 0: HomeError: it is damaged"
    ]
