"""Home Assistant's conventions: names it accepts, states that differ from its own, a device's discovery message.

Source: Home Assistant's documentation of MQTT discovery and of the MQTT platforms; its source, homeassistant 2025.4,
components/mqtt/discovery.py, schemas.py, sensor.py, binary_sensor.py, select.py, button.py, image.py.
"""

import re
from collections.abc import Sequence
from typing import Any

import edge
from edge.labels import RESERVED

PREFIX = "homeassistant"
STATUS = f"{PREFIX}/status"  # Home Assistant publishes "online" here after each start
BEAT = 30  # seconds between two repetitions of the current answer
EXPIRES = 120  # seconds after which an answer that was not repeated becomes unknown
PRESS = "PRESS"
# states that Home Assistant shows for a sensor without a value
_MEANT_OTHERWISE = ("None", "unknown", "unavailable")


def state(settled: str) -> str:
    """Return the sensor's state for a label or `unknown`, in brackets if the word has a meaning in Home Assistant.

    Different labels get different states: a label that is in such brackets already gets another pair.

    >>> [state(label) for label in ("open", "unknown", "None", "(None)", "(half)")]
    ['open', '(unknown)', '(None)', '((None))', '(half)']
    """
    inner = settled
    while inner[:1] == "(" and inner[-1:] == ")":
        inner = inner[1:-1]
    return f"({settled})" if inner in _MEANT_OTHERWISE else settled


def topic(name: str) -> str:
    """Return a watcher's topic; characters that a topic may not contain are percent-encoded.

    >>> topic("Küche"), topic("C++ #1")
    ('edge/Küche', 'edge/C%2B%2B %231')
    """
    return "edge/" + re.sub("[+#%]", lambda found: f"%{ord(found[0]):02X}", name)


def identifier(name: str) -> str:
    """Return a unique id for a name, from letters, digits, _ and -, the only characters that discovery accepts.

    >>> identifier("garage_2"), identifier("Küche"), identifier("my garage")
    ('edge_garage_2', 'edge_K_xfc_che', 'edge_my_x20_garage')
    """
    if "_x" in name or not re.fullmatch("[a-zA-Z0-9_-]+", name):
        name = re.sub("[^a-zA-Z0-9-]", lambda found: f"_x{ord(found[0]):x}_", name)
    return f"edge_{name}"


def config_topic(name: str) -> str:
    """Return the topic of the discovery message."""
    return f"{PREFIX}/device/{identifier(name)}/config"


def old_config_topic(name: str) -> str:
    """Return the topic of version 0.1's discovery message, which had only the label's sensor."""
    return f"{PREFIX}/sensor/{identifier(name)}/config"


def config(name: str, called: str, labels: Sequence[str], heat: bool = True) -> dict[str, Any]:
    """Return a watcher's discovery message: one device with all of its entities.

    Args:
        name: the watcher's name in the topics.
        called: the watcher's display name.
        labels: all possible labels, without `unknown`.
        heat: whether this machine reports its temperature.
    """
    taught = [state(label) for label in labels]
    entities: dict[str, dict[str, Any]] = {
        "seen": {
            **_seen("sensor", "Seen", "value_json.state"),
            "json_attributes_topic": "~/state",
            "device_class": "enum",
            "options": [*taught, state(RESERVED)],
            "icon": "mdi:cctv",
        },
        "confidence": {
            **_seen("sensor", "Confidence", "(value_json.probability * 100) | round(0) | int"),
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "icon": "mdi:percent",
        },
        "unknown": {
            **_seen("binary_sensor", "Unknown", "'ON' if value_json.unknown else 'OFF'"),
            "icon": "mdi:help-circle-outline",
        },
        "picture": {"platform": "image", "name": "Picture", "image_topic": "~/picture", "content_type": "image/jpeg"},
        "teach": {
            "platform": "select",
            "name": "Teach as",
            "options": taught,
            "command_topic": "~/teach",
            # nothing stays selected, so the same label can be chosen again
            "state_topic": "~/status",
            "value_template": "{{ None }}",
            "icon": "mdi:school-outline",
        },
        "retrain": _button("Retrain", "retrain", "mdi:brain"),
        "generation": _told("sensor", "Generation", "value_json.generation"),
        "accuracy": {
            **_told("sensor", "Accuracy", "(value_json.accuracy * 100) | round(1)", "value_json.accuracy is not none"),
            "unit_of_measurement": "%",
        },
        "examples": _told("sensor", "Examples", "value_json.examples"),
        "untrained": _told("sensor", "Examples not trained yet", "value_json.untrained"),
        "drift": {
            **_told("binary_sensor", "Drift", "'ON' if value_json.drift else 'OFF'", "value_json.drift is not none"),
            "device_class": "problem",
        },
        "disk": {
            **_told("sensor", "Disk free", "(value_json.disk_free / 1e9) | round(1)"),
            "device_class": "data_size",
            "unit_of_measurement": "GB",
        },
    }
    if heat:
        entities["temperature"] = {
            **_told("sensor", "Temperature", "value_json.temperature", "value_json.temperature is not none"),
            "device_class": "temperature",
            "unit_of_measurement": "°C",
        }
    device = {"identifiers": [identifier(name)], "name": called, "manufacturer": "edge-transfer"}
    base = topic(name)
    return {
        "dev": {**device, "sw_version": edge.__version__},
        "o": {"name": "edge-transfer", "sw_version": edge.__version__},
        "availability_topic": f"{base}/available",
        "cmps": {
            key: {**_under(base, entity), "unique_id": f"{identifier(name)}_{key}"} for key, entity in entities.items()
        },
    }


def _seen(platform: str, name: str, value: str) -> dict[str, Any]:
    """Describe an entity for the answer; it expires if a watcher that hangs does not repeat it."""
    return {
        "platform": platform,
        "name": name,
        "state_topic": "~/now",
        "value_template": f"{{{{ {value} }}}}",
        "expire_after": EXPIRES,
    }


def _told(platform: str, name: str, value: str, known: str = "") -> dict[str, Any]:
    """Describe an entity for the watcher itself."""
    return {
        "platform": platform,
        "name": name,
        "state_topic": "~/status",
        "value_template": f"{{{{ ({value}) if {known} else None }}}}" if known else f"{{{{ {value} }}}}",
        "expire_after": EXPIRES,
        "entity_category": "diagnostic",
    }


def _button(name: str, verb: str, icon: str) -> dict[str, Any]:
    return {"platform": "button", "name": name, "command_topic": f"~/{verb}", "payload_press": PRESS, "icon": icon}


def _under(base: str, entity: dict[str, Any]) -> dict[str, Any]:
    """Fill in the full topics of an entity."""
    return {
        key: f"{base}{value[1:]}" if key.endswith("topic") and value.startswith("~/") else value
        for key, value in entity.items()
    }
