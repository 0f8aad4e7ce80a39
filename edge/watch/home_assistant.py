"""What is sent to Home Assistant: names it accepts, states that differ from its own, the discovery message.

Source: Home Assistant's documentation of MQTT discovery and of the MQTT sensor; its source, homeassistant 2025.1,
components/mqtt/sensor.py and discovery.py.
"""

import re
from collections.abc import Sequence
from typing import Any

import edge
from edge.labels import RESERVED

PREFIX = "homeassistant"
STATUS = f"{PREFIX}/status"  # "online" after each start of Home Assistant
_MEANT_OTHERWISE = (
    "None",
    "unknown",
    "unavailable",
)  # states that Home Assistant gives a sensor of which it knows none


def state(settled: str) -> str:
    """Return the sensor's state for a label or `unknown`: in brackets where Home Assistant means something else by it.

    No two labels get the same state: a label that looks like such a state gets one more pair of brackets.

    >>> [state(label) for label in ("open", "unknown", "None", "(None)", "(half)")]
    ['open', '(unknown)', '(None)', '((None))', '(half)']
    """
    inner = settled
    while inner[:1] == "(" and inner[-1:] == ")":
        inner = inner[1:-1]
    return f"({settled})" if inner in _MEANT_OTHERWISE else settled


def topic(name: str) -> str:
    """Return the topic of a watcher; what a topic must not hold is percent-encoded.

    >>> topic("Küche"), topic("C++ #1")
    ('edge/Küche', 'edge/C%2B%2B %231')
    """
    return "edge/" + re.sub("[+#%]", lambda found: f"%{ord(found[0]):02X}", name)


def identifier(name: str) -> str:
    """Return a name in letters, digits, _ and -, which is all that discovery accepts; no two names share one.

    >>> identifier("garage_2"), identifier("Küche"), identifier("my garage")
    ('edge_garage_2', 'edge_K_xfc_che', 'edge_my_x20_garage')
    """
    if "_x" in name or not re.fullmatch("[a-zA-Z0-9_-]+", name):
        name = re.sub("[^a-zA-Z0-9-]", lambda found: f"_x{ord(found[0]):x}_", name)
    return f"edge_{name}"


def config_topic(name: str) -> str:
    """Return the topic of the discovery message."""
    return f"{PREFIX}/sensor/{identifier(name)}/config"


def config(name: str, called: str, labels: Sequence[str]) -> dict[str, Any]:
    """Return the discovery message of a watcher's sensor.

    There is no `expire_after`: a state is as old as the last change, and a watcher that dies or loses its camera says
    so by its availability.

    Args:
        name: names the watcher's topics.
        called: how people read it.
        labels: all that can be seen, without `unknown`.
    """
    return {
        "name": "Seen",
        "unique_id": identifier(name),
        "state_topic": f"{topic(name)}/state",
        "value_template": "{{ value_json.state }}",
        "json_attributes_topic": f"{topic(name)}/state",
        "availability_topic": f"{topic(name)}/available",
        "device_class": "enum",
        "options": [state(label) for label in (*labels, RESERVED)],
        "icon": "mdi:cctv",
        "device": {"identifiers": [identifier(name)], "name": called, "manufacturer": "edge-transfer"},
        "origin": {"name": "edge-transfer", "sw_version": edge.__version__},
    }
