"""Home Assistant takes every discovery message, and shows every label as itself.

Twice: by the rules of homeassistant 2025.1 (components/mqtt/sensor.py and discovery.py, helpers/template.py), written
down here; and, where the environment of `make test` is there, by Home Assistant's own code (2024.3, the last one for
Python 3.11, which does not know the key `options` yet).
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import LabelError
from edge.labels import RESERVED, clean
from edge.watch import home_assistant

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


# Run by Home Assistant's own interpreter. In: [topic, discovery message, state message]. Out: [keys that it does not
# know, the state that it shows].
READS = """\
import asyncio
import json
import sys
import tempfile

from homeassistant.components.mqtt import discovery, sensor
from homeassistant.core import HomeAssistant


async def read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hass = HomeAssistant(folder)
        for line in sys.stdin:
            topic, message, state = json.loads(line)
            prefix, _, rest = topic.partition("/")
            assert prefix == "homeassistant", topic
            found = discovery.TOPIC_MATCHER.fullmatch(rest)
            assert found, f"{topic} is refused"
            assert found["component"] == "sensor"
            config = sensor.DISCOVERY_SCHEMA(dict(message))
            template = config["value_template"]
            template.hass = hass
            shown = template.async_render_with_possible_json_value(state, "the template fails")
            print(json.dumps([sorted(set(message) - set(config)), shown]))


asyncio.run(read())
"""


def accepted(topic: str, message: dict[str, Any]) -> None:
    """Raise what homeassistant 2025.1 would."""
    assert re.fullmatch(r"homeassistant/sensor/[a-zA-Z0-9_-]+/config", topic), topic
    known = {
        "availability_topic", "device", "device_class", "icon", "json_attributes_topic", "name", "options", "origin",
        "state_topic", "unique_id", "value_template",
    }  # fmt: skip
    assert set(message) <= known
    for key in ("state_topic", "availability_topic", "json_attributes_topic"):
        text = message[key].encode()
        assert 0 < len(text) <= 65_535
        assert not {"+", "#", "\0"} & set(message[key]), "wildcards may not be published to"
    assert message["device_class"] == "enum", "options need it"
    assert message["options"], "an empty list is refused"
    assert len(set(message["options"])) == len(message["options"])
    assert not {"state_class", "unit_of_measurement"} & set(message)
    assert message["device"]["identifiers"]
    assert message["origin"]["name"]


def shown(message: dict[str, Any], label: str) -> str:
    """The state that homeassistant 2025.1 gives the sensor."""
    template = re.fullmatch(r"\{\{ value_json\.(\w+) \}\}", message["value_template"])
    assert template
    text = str(json.loads(json.dumps({"state": home_assistant.state(label)}))[template[1]]).strip()
    assert text != "None", "means that nothing is known"
    assert text in message["options"], "ignored otherwise"
    assert len(text) <= 255
    assert text not in ("unknown", "unavailable", ""), "means that nothing is known, or nobody there"
    return text


@pytest.mark.parametrize("name", NAMES)
def test_each_name_and_label_is_one_that_home_assistant_takes(name: str) -> None:
    message = home_assistant.config(name, name, LABELS)
    accepted(home_assistant.config_topic(name), message)
    assert message["device"]["name"] == name, "people read it as it was written"
    assert len({shown(message, label) for label in (*LABELS, RESERVED)}) == len(LABELS) + 1


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


def test_home_assistant_itself_reads_each_message_and_shows_each_label() -> None:
    there = Path(__file__).parent.parent.parent / ".venv-homeassistant"
    if not (there / "ready").exists():
        pytest.skip("Home Assistant is not here: make .venv-homeassistant/ready")
    cases = []
    for name in NAMES:
        message = home_assistant.config(name, name, LABELS)
        for label in (*LABELS, RESERVED):
            state = json.dumps({"state": home_assistant.state(label)}, ensure_ascii=False)
            cases.append((home_assistant.config_topic(name), message, state, label))
    done = subprocess.run(
        [there / "bin/python", "-c", READS],
        input="".join(json.dumps(case[:3]) + "\n" for case in cases),
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr
    read = [json.loads(line) for line in done.stdout.splitlines()]
    for (_, message, _, label), (unknown, state) in zip(cases, read, strict=True):
        assert set(unknown) <= {"options"}, "a key that it does not know"
        assert state == shown(message, label)
