"""A connection to a broker that reconnects by itself whenever the broker is back, and reports what is wrong.

paho-mqtt's thread calls `_connected`, `_heard` and so on; these take the lock, and so must every thread that publishes.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from edge.camera.address import Address
from edge.mqtt.client import Broker
from edge.mqtt.trouble import News

PATIENCE = 3.0  # seconds that closing waits for a broker to answer


class Message(NamedTuple):
    """A received message: its topic, its bytes, and whether the broker had retained it."""

    topic: str
    payload: bytes
    retained: bool


class Connection:
    """A client's connection to one broker.

    Args:
        client_id: the client's id; a broker accepts only one connection per id.
        last_will: topic and payload that the broker publishes when this process dies.
        on_connect: called after each connect, to publish everything again.
        name: what the watcher is called in messages for people.

    Raises:
        SourceError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        address: Address,
        client_id: str,
        last_will: tuple[str, str],
        topics: Sequence[tuple[str, int]],
        on_connect: Callable[[], None],
        on_message: Callable[[Message], None],
        name: str,
    ) -> None:
        self.broker = Broker(address, "--mqtt needs")
        self.guard = threading.RLock()
        self.news = News(str(self.broker))
        self._name, self._topics = name, list(topics)
        self._on_connect, self._on_message = on_connect, on_message
        self._up = threading.Event()  # set while connected
        self._since = 0.0
        self._refused = self._closed = False
        self._client = self.broker.client(client_id)
        self._client.will_set(*last_will, qos=1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._unreachable
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._heard

    def start(self) -> None:
        """Start connecting in the background."""
        self._client.loop_start()

    @property
    def up(self) -> bool:
        """Whether the connection is up. Without one, messages are dropped: connecting publishes everything again."""
        return self._up.is_set()

    def publish(self, topic: str, payload: dict[str, Any] | str | bytes, qos: int = 0) -> Any:
        """Publish a retained message if the connection is up.

        At QoS 1, a message that a broker did not answer before it went would be sent again after the reconnect, and
        that after `on_connect` has published what is true by then: the old state would stay.
        """
        if isinstance(payload, dict):
            payload = json.dumps(payload, ensure_ascii=False, allow_nan=False)
        if isinstance(payload, str):
            # a message must be UTF-8, but a file name may not be: such bytes are escaped, as on the terminal
            payload = re.sub("[\ud800-\udfff]", lambda found: rf"\\u{ord(found[0]):04x}", payload).encode()
        return self._client.publish(topic, payload, qos, retain=True) if self.up else None

    def lines(self) -> Iterator[str]:
        """Yield the messages for people about the connection since the last call."""
        if self.up:
            self.news.lasts(time.monotonic() - self._since)
        yield from self.news.take()

    def close(self, topic: str, payload: str) -> bool:
        """Publish a last message and disconnect, waiting at most a few seconds for the broker.

        Returns:
            Whether the broker has the message.
        """
        if not self.up and self.news.silent:  # still connecting: a short video may end before that
            self._up.wait(PATIENCE)
        told = False
        last = self.publish(topic, payload, qos=1)  # so that the broker says that it has it
        if last is not None:
            try:
                last.wait_for_publish(PATIENCE)
                told = last.is_published()
            except (RuntimeError, ValueError):  # the connection was just lost
                pass
        self._closed = True
        self._client.disconnect()
        if told or not self.up:
            self._client.on_connect_fail = None
        if told:
            self._client.loop_stop()  # otherwise the thread may be waiting for the network; it ends with the process
        return told

    # called by paho-mqtt's thread

    def _connected(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self.guard:
            if reason.is_failure:
                self._refused = True
                self.news.say(self.broker.refuses(reason))
                return
            self._up.set()
            self._since = time.monotonic()
            self.news.connected(self._name)
            client.subscribe(self._topics)
            self._on_connect()

    def _heard(self, _client: Any, _data: Any, message: Any) -> None:
        with self.guard:
            self._on_message(Message(message.topic, message.payload, bool(message.retain)))

    def _unreachable(self, _client: Any, _data: Any) -> None:
        with self.guard:
            self.news.say(self.broker.unreachable())

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self.guard:
            was_up, refused = self.up, self._refused
            self._up.clear()
            self._refused = False
            if not reason.is_failure or refused or self._closed:
                return
            if not was_up:
                tls = "; a TLS port needs an address that begins with mqtts://"
                self.news.say(f"broker {self.broker} closes the connection before it answers{tls}; waiting for it")
                return
            self.news.broke(time.monotonic() - self._since)
