"""The judge: what was measured makes the figure, what was not is named with the reason, and no figure is ever NaN."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.answers import rows, to_json
from edge.head.fit import Examples, fit
from edge.metrics.left_out import Judged, judge

Group = tuple[str, int, str | None]  # a label, so many examples, their session


def judged(*local: Group, factory: tuple[Group, ...] = (), adapted: tuple[str, ...] = ()) -> Judged:
    """Judge a head of groups of examples, each label about a corner of its own; of those `adapted` none may count."""
    rng = np.random.default_rng(0)

    def made(groups: tuple[Group, ...]) -> Examples:
        labels = tuple(label for label, count, _ in groups for _ in range(count))
        x = 3 * np.array([np.eye(8)[ord(label[0]) % 8] for label in labels]).reshape(-1, 8)
        sessions = tuple(session for _, count, session in groups for _ in range(count))
        return Examples((x + rng.normal(size=x.shape)).astype(np.float32), labels, sessions)

    ours, theirs = made(local), made(factory)
    countable = np.array([label not in adapted for label in theirs.labels], bool)
    result = fit(ours, theirs) if len(theirs) else fit(ours)
    return judge(result, ours.labels, theirs.labels, countable, (*ours.sessions, *theirs.sessions))


def test_a_label_that_is_one_burst_is_named_and_the_others_are_measured() -> None:
    found = judged(("a", 10, None), ("b", 10, None), ("open", 20, "night"))
    assert found.accuracy is not None
    assert found.evaluation is not None
    assert found.evaluation.examples == 20
    (left_out,) = found.unmeasured
    assert (left_out.label, left_out.examples) == ("open", 20)
    assert left_out.reason == "all 20 pictures of 'open' are from one session; capture another burst later"
    assert left_out.reason in found.note


def test_a_label_of_one_picture_does_not_hide_the_figure_of_the_others() -> None:
    with_one, without = (
        judged(("a", 10, None), ("b", 10, None), ("c", 1, None)),
        judged(("a", 10, None), ("b", 10, None)),
    )
    assert with_one.scope == without.scope == "local"
    assert with_one.accuracy is not None
    assert [u.reason for u in with_one.unmeasured] == ["'c' has 1 picture, but 5 are needed"]
    assert without.unmeasured == ()
    assert without.note == ""


def test_the_factorys_labels_are_measured_beside_bursts_of_new_ones() -> None:
    found = judged(("open", 20, "x"), ("shut", 20, "y"), factory=(("a", 9, None), ("b", 9, None)))
    assert found.scope == "all"
    assert found.accuracy is not None
    assert [u.label for u in found.unmeasured] == ["open", "shut"]


def test_two_bursts_alone_are_not_measurable_and_the_note_says_what_to_do() -> None:
    found = judged(("open", 20, "x"), ("shut", 20, "y"))
    assert (found.accuracy, found.interval, found.evaluation) == (None, None, None)
    assert found.confusion.tolist() == [[0, 0], [0, 0]]
    assert found.note.startswith("not measurable yet: ")
    assert found.note.count("capture another burst later") == 2


def test_one_label_that_can_be_measured_makes_no_figure() -> None:
    found = judged(("a", 10, None), ("open", 20, "x"))
    assert found.accuracy is None
    assert found.confusion.sum() == 10
    assert [u.label for u in found.unmeasured] == ["open"]


def test_a_second_burst_makes_a_label_measurable() -> None:
    found = judged(("open", 20, "x"), ("open", 20, "later"), ("shut", 20, "y"), ("shut", 20, "later"))
    assert found.accuracy is not None
    assert found.unmeasured == ()


def test_labels_with_no_picture_in_scope_are_named_with_the_reason() -> None:
    found = judged(("a", 9, None), ("b", 9, None), factory=(("c", 9, None), ("d", 9, None)))
    assert found.scope == "local"
    assert [(u.label, u.examples) for u in found.unmeasured] == [("c", 0), ("d", 0)]
    assert found.note == "not measured: no picture of 'c', 'd' was taught here"
    found = judged(("a", 3, None), factory=(("b", 9, None), ("c", 9, None), ("d", 9, None)), adapted=("d",))
    assert {u.label: u.examples for u in found.unmeasured} == {"a": 3, "d": 9}
    assert "trained on the bundle's pictures of 'd'" in found.note


groups = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 7), st.sampled_from([None, "x", "y"])), min_size=1, max_size=6
)


@given(groups, groups, st.sets(st.sampled_from("abcd")))
def test_no_figure_is_ever_nan_and_every_label_is_measured_or_named(
    local: list[Group], factory: list[Group], adapted: set[str]
) -> None:
    every = {label for label, _, _ in (*local, *factory)}
    if len(every) < 2:
        return
    found = judged(*local, factory=tuple(factory), adapted=tuple(adapted))
    json.dumps(to_json((found.accuracy, found.interval, found.unmeasured, rows(found.confusion))), allow_nan=False)
    named = {u.label for u in found.unmeasured}
    assert (found.accuracy is not None) == (len(every) - len(named) >= 2)
    assert bool(found.note) == bool(named)
    for label, counts in zip(found.fit.head.labels, found.confusion, strict=True):
        assert label in named or counts.sum() >= 5
    if found.accuracy is not None:
        assert not math.isnan(found.accuracy)
        assert found.accuracy == pytest.approx(np.trace(found.confusion) / found.confusion.sum())
