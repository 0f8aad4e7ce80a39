"""The names and states that Home Assistant is sent; test_in_home_assistant.py shows them to Home Assistant itself."""

import re

from hypothesis import given
from hypothesis import strategies as st

from edge.errors import LabelError
from edge.labels import RESERVED, clean
from edge.mqtt import home_assistant

NAMES = ["garage", "Küche", "my garage", "a_b-c", "a_x62_", "C++ #1/east", "50%", "鳥", "🐦", "K_che", "K_xfc_che", "+"]
LABELS = [
    "open",
    "None",
    "none",
    "unavailable",
    "(unknown)",
    "((None))",
    "1",
    "{{ x }}",
    "Küche",
    "👍🏽",
    "a" * 100,
    "on",
]


def test_the_message_of_a_device_shares_no_identifier_and_has_every_label_from_the_start() -> None:
    message = home_assistant.config("my garage", "my garage", LABELS)
    assert message["dev"]["name"] == "my garage", "people read it as it was written"
    assert message["availability_topic"] == "edge/my garage/available"
    entities = message["cmps"]
    assert len({one["unique_id"] for one in entities.values()}) == len(entities)
    shown = [home_assistant.state(label) for label in LABELS]
    assert entities["seen"]["options"] == [*shown, "(unknown)"]
    assert entities["teach"]["options"] == shown, "nobody can teach 'unknown'"
    assert len(set(entities["seen"]["options"])) == len(LABELS) + 1
    topics = [value for one in entities.values() for key, value in one.items() if key.endswith("topic")]
    assert all(topic.startswith("edge/my garage/") for topic in topics)
    assert "temperature" not in home_assistant.config("x", "x", LABELS, heat=False)["cmps"]


def test_a_name_or_label_that_harms_nobody_stays_as_it_is() -> None:
    assert home_assistant.identifier("garage_2-b") == "edge_garage_2-b"
    assert home_assistant.topic("Küche") == "edge/Küche"
    for label in ("open", "none", "Unknown thing", "(half)", "a (b)", "()"):
        assert home_assistant.state(label) == label


@given(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=2, unique=True))
def test_no_two_names_share_topics_or_identifiers(names: list[str]) -> None:
    assert len({home_assistant.topic(name) for name in names}) == 2
    assert len({home_assistant.identifier(name) for name in names}) == 2
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", home_assistant.identifier(name)) for name in names)


@given(st.lists(st.text("_x2b-9.", min_size=1, max_size=9), min_size=2, max_size=2, unique=True))
def test_no_name_looks_like_the_escaped_form_of_another(names: list[str]) -> None:
    assert len({home_assistant.identifier(name) for name in names}) == 2


@given(st.sets(st.sampled_from(["None", "unknown", "unavailable", "(", ")", "a"]).flatmap(
    lambda inner: st.integers(0, 3).map(lambda n: "(" * n + inner + ")" * n)), min_size=2))  # fmt: skip
def test_no_two_labels_share_a_state(names: set[str]) -> None:
    labels = set()
    for name in names:
        try:
            labels.add(clean(name))
        except LabelError:
            continue
    states = {home_assistant.state(label) for label in (*labels, RESERVED)}
    assert len(states) == len(labels) + 1
    assert not states & {"None", "unknown", "unavailable"}
