"""Tell an MQTT broker what is seen, so that Home Assistant shows it without being configured.

| topic | retained payload |
|---|---|
| edge/NAME/state | JSON: what is settled on (`label`), `probability`, `time`, `image`, `generation` |
| edge/NAME/available | online, or offline: the broker says so when we die |
| homeassistant/sensor/edge_NAME/config | how Home Assistant is to show it |

The broker may come and go: the library's thread connects again, and tells the latest state then.

Source: Home Assistant's documentation of MQTT discovery and of the MQTT sensor.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import edge
from edge.errors import SourceError
from edge.labels import RESERVED
from edge.watch import Seen

PORTS = {"mqtt": 1883, "mqtts": 8883}


class Mqtt:
    """A connection that heals itself.

    Args:
        url: mqtt://[user:password@]host[:port][/NAME], or mqtts:// for TLS.
        name: what the topics and Home Assistant call this device, unless the address does.

    Raises:
        SourceError: the address is none, or the library is missing.
    """

    def __init__(self, url: str, name: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):
            port = 0
        if not port or not parts.hostname:
            raise SourceError("--mqtt takes an address like mqtt://user:password@host:1883/garage, or mqtts:// for TLS")
        try:
            from paho.mqtt import client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise SourceError("--mqtt needs paho-mqtt; run: pip install 'edge-transfer[mqtt]'") from None
        self.name = re.sub(r"[^a-zA-Z0-9_-]+", "_", unquote(parts.path).strip("/") or name)
        self.broker = f"{parts.hostname}:{port}"
        self._state: dict[str, Any] | None = None
        self._labels: tuple[str, ...] = ()
        self._news: deque[str] = deque(maxlen=20)
        self._refused = ""
        self._client = client.Client(CallbackAPIVersion.VERSION2, client_id=f"edge-{self.name}")
        if parts.username is not None:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.will_set(self._topic("available"), "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._unreachable
        self._client.on_disconnect = self._disconnected
        self._client.connect_async(parts.hostname, port, keepalive=30)
        self._client.loop_start()

    def tell(self, seen: Seen, labels: Sequence[str]) -> None:
        """Publish a change, and what labels there are when these change."""
        if tuple(labels) != self._labels:
            self._labels = tuple(labels)
            self._describe()
        if seen.changed:
            self._state = {
                "label": seen.settled,
                "probability": round(seen.probability, 6),
                "time": seen.time,
                "image": seen.image,
                "generation": seen.generation,
            }
            self._publish(self._topic("state"), self._state)

    def news(self) -> Iterator[str]:
        """Yield what people should know of the connection since the last asking."""
        while self._news:
            yield self._news.popleft()

    def close(self) -> None:
        """Say that we are gone, and go; a broker that does not answer is not waited for longer than a second."""
        if self._client.is_connected():
            self._client.publish(self._topic("available"), "offline", qos=1, retain=True).wait_for_publish(1)
        self._client.disconnect()
        self._client.loop_stop()

    def _topic(self, leaf: str) -> str:
        return f"edge/{self.name}/{leaf}"

    def _publish(self, topic: str, payload: dict[str, Any]) -> None:
        if self._client.is_connected():  # else it is told on connecting, and nothing piles up till then
            self._client.publish(topic, json.dumps(payload, ensure_ascii=False), qos=1, retain=True)

    def _describe(self) -> None:
        node = f"edge_{self.name}"
        self._publish(
            f"homeassistant/sensor/{node}/config",
            {
                "name": "Seen",
                "unique_id": node,
                "state_topic": self._topic("state"),
                "value_template": "{{ value_json.label }}",
                "json_attributes_topic": self._topic("state"),
                "availability_topic": self._topic("available"),
                "device_class": "enum",
                "options": [*self._labels, RESERVED],
                "icon": "mdi:cctv",
                "device": {"identifiers": [node], "name": self.name, "manufacturer": "edge-transfer"},
                "origin": {"name": "edge-transfer", "sw_version": edge.__version__},
            },
        )

    # called by the library's thread

    def _connected(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._say(f"broker {self.broker} refuses: {reason}; see to the user and password in --mqtt")
            return
        self._refused = ""
        self._news.append(f"connected to broker {self.broker} as '{self.name}'")
        client.publish(self._topic("available"), "online", qos=1, retain=True)
        self._describe()
        if self._state is not None:
            self._publish(self._topic("state"), self._state)

    def _unreachable(self, _client: Any, _data: Any) -> None:
        self._say(f"broker {self.broker} cannot be reached; waiting for it")

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._say(f"broker {self.broker} is gone; waiting for it")

    def _say(self, problem: str) -> None:
        if problem != self._refused:  # once, not at each new try
            self._refused = problem
            self._news.append(problem)
