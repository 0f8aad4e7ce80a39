"""Tell an MQTT broker what is seen, so that Home Assistant shows it without being configured.

| topic | retained payload |
|---|---|
| edge/NAME/state | JSON: what is settled on (`label`; `state` as Home Assistant shows it), `probability`, … |
| edge/NAME/available | online, or offline: the camera is gone, or the broker says so when we die |
| edge/NAME/watcher | JSON: which process uses this NAME; two with the same one hear of each other by it |
| homeassistant/sensor/edge_NAME/config | how Home Assistant is to show it |

The broker may come and go: the library's thread connects again, and tells all of this then. What Home Assistant reads
is in `home_assistant`.
"""

import hashlib
import json
import os
import re
import secrets
import socket
import ssl
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from edge.camera.address import Address
from edge.errors import SourceError
from edge.files import locked
from edge.labels import RESERVED, hidden
from edge.watch import home_assistant
from edge.watch.loop import Seen

PORTS = {"mqtt": 1883, "mqtts": 8883}
LONGEST_NAME = 100  # characters
STABLE = 60.0  # seconds: a connection that breaks sooner, again and again, is said to do so, and then no more
AGAIN = 2.0  # seconds after new labels: Home Assistant ignores a state that comes before it has taken them in
PATIENCE = 3.0  # seconds for which the end waits for a broker that is about to answer
_EXAMPLE = "mqtt://user:password@host:1883/garage, or mqtts:// for TLS"


def identity(home: Path, source: str, machine: Path = Path("/etc/machine-id")) -> str:
    """Return 16 hexadecimal digits that stand for this machine, home and source, today and after each restart.

    Args:
        home: the folder of all state.
        source: what is watched, as the user wrote it; user and password in it do not count.
        machine: holds a number that no other machine has.
    """
    try:
        number = machine.read_text()
    except (OSError, ValueError):
        number = ""
    parts = (number, socket.gethostname(), str(home.absolute()), re.sub("//[^/]*@", "//", source))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Mqtt:
    """A connection that heals itself.

    Args:
        url: mqtt://[user:password@]host[:port][/NAME], or mqtts:// for TLS. It is never shown.
        name: what the topics call this watcher, unless the address has a NAME.
        called: what Home Assistant calls it then.
        who: stands for machine, home and source, as `identity`; two connections of one `who` and NAME exclude each
            other at the broker.
        home: where a lock keeps a second process from being the same one; None: nowhere.
        labels: what can be seen, if it is known already.
        present: whether what is watched is there.

    Raises:
        SourceError: the address is malformed, the library is missing, or another process is this one.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        called: str = "",
        who: str = "",
        home: Path | None = None,
        labels: Sequence[str] = (),
        present: bool = True,
    ) -> None:
        address, given = _parsed(url)
        try:
            from paho.mqtt import client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise SourceError(
                "library-missing", "--mqtt needs paho-mqtt; run: pip install 'edge-transfer[mqtt]'"
            ) from None
        port = address.port or PORTS[address.scheme]
        self.name = given or name
        self.broker = f"[{address.host}]:{port}" if ":" in address.host else f"{address.host}:{port}"
        self._called = given or called or name
        self._topic = home_assistant.topic(self.name)
        digest = hashlib.sha256(f"{who}\0{self.name}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._lock = None if home is None else locked(home / f"watched-{digest}.lock")
        if home is not None and self._lock is None:
            raise SourceError(
                "watcher-exists",
                f"another process watches the same for this home and tells the broker as '{self.name}'; stop that one "
                "first, or use another NAME at the end of the --mqtt address",
            )
        self._me = {"id": secrets.token_hex(8), "host": socket.gethostname(), "watches": self._called}
        self._others: set[str] = set()  # ids of processes with our NAME that were told of
        self._claimed = False
        self._state: dict[str, Any] | None = None
        self._frozen = False
        self._labels = tuple(labels)
        self._present = present
        self._state_again: float | None = None  # when to tell it once more
        self._news: deque[str] = deque(maxlen=50)
        self._said = ""
        self._up = threading.Event()  # set while connected
        self._since = 0.0
        self._breaks = 0  # connections in a row that did not last
        self._refused = False
        self._closed = False
        self._guard = threading.RLock()  # for all of the above: the library calls us from a thread of its own
        self._client = client.Client(CallbackAPIVersion.VERSION2, client_id=f"edge-{digest}")
        self._client.connect_timeout = 5.0
        if address.user is not None:
            self._client.username_pw_set(address.user, address.password)
        self._tls = address.scheme == "mqtts"
        if self._tls:
            self._client.tls_set()
        self._client.will_set(f"{self._topic}/available", "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._unreachable
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._heard
        self._client.connect_async(address.host, port, keepalive=30)
        self._client.loop_start()

    def tell(self, seen: Seen, labels: Sequence[str]) -> None:
        """Publish a change, and what labels there are when these change."""
        with self._guard:
            if tuple(labels) != self._labels:
                self._labels = tuple(labels)
                self._describe()
                self._state_again = time.monotonic() + AGAIN
            if seen.settled is not None and (seen.changed or self._state is None):
                self._state = {
                    "label": seen.settled,
                    "state": home_assistant.state(seen.settled),
                    "unknown": seen.settled == RESERVED,
                    "probability": round(seen.probability, 6),
                    "time": seen.time,
                    "image": seen.image,
                    "generation": seen.generation,
                }
                self._tell_state()
            if seen.settled is not None:
                self.present(True)

    def present(self, there: bool) -> None:
        """Publish that what is watched is there, or gone: its last state is then not shown as today's."""
        with self._guard:
            if there != self._present:
                self._present = there
                self._tell_available()

    def frozen(self, frozen: bool) -> None:
        """Publish whether the camera gives the same picture again and again."""
        with self._guard:
            self._frozen = frozen
            self._tell_state()

    def news(self) -> Iterator[str]:
        """Do what is due, and yield what people should know of the connection since the last asking."""
        with self._guard:
            now = time.monotonic()
            if self._state_again is not None and now >= self._state_again:
                self._state_again = None
                self._tell_state()
            if self._breaks >= 3 and self._up.is_set() and now - self._since >= STABLE:
                self._breaks = 0
                self._say(f"the connection to broker {self.broker} is stable again")
        while self._news:
            yield self._news.popleft()

    def close(self) -> None:
        """Say that we are gone, and go; a broker that does not answer is waited for a few seconds at most."""
        if not self._up.is_set() and not self._said:  # the first connection is under way: a film may be shorter
            self._up.wait(PATIENCE)
        told = False
        if self._up.is_set():
            with self._guard:
                self._present = False
                last = self._publish("available", "offline")
            try:
                last.wait_for_publish(PATIENCE)
                told = last.is_published()
            except (RuntimeError, ValueError):  # it went just now
                pass
        self._closed = True
        self._client.disconnect()
        if told or not self._up.is_set():
            self._client.on_connect_fail = None
        if told:
            self._client.loop_stop()  # else its thread may be waiting for the network, and ends with the process
        elif self._state is not None:
            self._news.append(f"broker {self.broker} may not have received the last change: it does not answer")
        if self._lock is not None:
            os.close(self._lock)

    # publishing, by both threads, under the guard

    def _publish(self, leaf: str, payload: dict[str, Any] | str, topic: str = "") -> Any:
        text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, allow_nan=False)
        # a file's name may not be UTF-8, which a message must be: such bytes are written out, as on the terminal
        text = re.sub("[\ud800-\udfff]", lambda found: rf"\\u{ord(found[0]):04x}", text)
        return self._client.publish(topic or f"{self._topic}/{leaf}", text.encode(), qos=1, retain=True)

    def _tell_available(self) -> None:
        if self._up.is_set():  # else all is told on connecting, and nothing piles up till then
            self._publish("available", "online" if self._present else "offline")

    def _tell_state(self) -> None:
        if self._up.is_set() and self._state is not None:
            self._publish("state", {**self._state, "frozen": self._frozen})

    def _describe(self) -> None:
        if self._up.is_set() and self._labels:  # a list of options that lacks the labels would make their state invalid
            config = home_assistant.config(self.name, self._called, self._labels)
            self._publish("", config, home_assistant.config_topic(self.name))

    def _tell_all(self) -> None:
        self._describe()
        self._tell_state()
        self._tell_available()

    # called by the library's thread

    def _connected(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._guard:
            if reason.is_failure:
                self._refused = True
                advice = "check the user name and password in --mqtt" if reason.value in (134, 135) else "trying again"
                self._say(f"broker {self.broker} refuses: {reason}; {advice}")
                return
            self._up.set()
            self._since = time.monotonic()
            if self._breaks < 3:
                self._say(f"connected to broker {self.broker} as '{self.name}'")
            client.subscribe([(home_assistant.STATUS, 0), (f"{self._topic}/watcher", 1)])
            self._tell_all()
            if not self._claimed:
                self._publish("watcher", self._me)

    def _heard(self, _client: Any, _data: Any, message: Any) -> None:
        with self._guard:
            if message.topic == home_assistant.STATUS:
                if message.payload == b"online":
                    self._tell_all()
                    self._state_again = time.monotonic() + AGAIN
                return
            try:
                other = {key: str(json.loads(message.payload)[key]) for key in ("id", "host", "watches")}
            except (ValueError, TypeError, KeyError, RecursionError):
                return
            if other["id"] == self._me["id"]:
                self._claimed = True
                return
            # retained, before ours was: left by an earlier process, which may be long gone
            if (message.retain and not self._claimed) or other["id"] in self._others:
                return
            self._others.add(other["id"])
            self._say(
                f"another watcher, on {other['host'][:100]}, publishes to broker {self.broker} as "
                f"'{self.name}' too, and "
                "their answers get mixed up; use different NAMEs at the end of the --mqtt addresses"
            )
            self._publish("watcher", self._me)  # so that the other hears of us, too

    def _unreachable(self, _client: Any, _data: Any) -> None:
        why = _why(sys.exc_info()[1], self._tls)
        with self._guard:
            self._say(f"broker {self.broker} {why}; waiting for it")

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._guard:
            was_up, refused = self._up.is_set(), self._refused
            self._up.clear()
            self._refused = False
            if not reason.is_failure or refused or self._closed:
                return
            if not was_up:
                tls = "; a TLS port needs an address that begins with mqtts://"
                self._say(f"broker {self.broker} closes the connection before it answers{tls}; waiting for it")
                return
            self._breaks = self._breaks + 1 if time.monotonic() - self._since < STABLE else 0
            if self._breaks < 3:
                self._say(f"broker {self.broker} is gone; waiting for it")
            elif self._breaks == 3:
                self._say(
                    f"the connection to broker {self.broker} breaks again and again; still trying; look in the "
                    "broker's log for the reason, such as another program that uses the same client id"
                )

    def _say(self, text: str) -> None:
        if text != self._said:  # once, not at each new try
            self._said = text
            self._news.append(text)


def _parsed(url: str) -> tuple[Address, str]:
    """Return an address in its parts, and the NAME in it or ""; an error shows nothing of it."""
    place, slash, name = url.partition("://")[2].partition("/")
    if slash:  # blanks in a NAME harm nobody
        url = f"{url.partition('://')[0]}://{place}/{name.replace(' ', '%20')}"
    try:
        address = Address.parse(url, PORTS)
    except SourceError as error:
        raise SourceError("address-invalid", f"--mqtt: {error}; write it like {_EXAMPLE}") from None
    if re.search("[?#]", address.rest):
        raise SourceError(
            "address-invalid",
            f"--mqtt: this address contains ? or # after the host; write them as %3F and %23, as in {_EXAMPLE}",
        )
    if address.user == "" or "\ufffd" in f"{address.user}{address.password}" or "\0" in (address.user or ""):
        raise SourceError(
            "address-invalid",
            f"--mqtt: this address has a user name or password that no broker accepts; write it like {_EXAMPLE}",
        )
    try:
        if ":" not in address.host and not re.fullmatch(rb"[\w.-]+", address.host.encode("idna")):
            raise UnicodeError
    except UnicodeError:
        raise SourceError(
            "address-invalid", f"--mqtt: the host name in this address is not valid; write it like {_EXAMPLE}"
        ) from None
    name = unicodedata.normalize("NFC", unquote(address.rest)).strip("/ ")
    if len(name) > LONGEST_NAME or "\ufffd" in name or any(hidden(c) or unicodedata.category(c) == "Cn" for c in name):
        raise SourceError(
            "address-invalid",
            f"--mqtt: the NAME in this address is longer than {LONGEST_NAME} characters, or contains one that "
            "cannot be "
            f"printed; write it like {_EXAMPLE}",
        )
    return address, name


def _why(error: BaseException | None, tls: bool) -> str:
    """Say what keeps a broker from being reached, and what mends it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = {
            9: "it is not valid yet: set this machine's clock",
            10: "it has expired: renew it, or set this machine's clock",
            62: "it belongs to another host: write the host in --mqtt as in the certificate",
            64: "it belongs to another host: write the host in --mqtt as in the certificate",
        }.get(
            error.verify_code,
            "set the file of the authority that signed it, or the certificate itself if it is self-signed, in the "
            "environment variable SSL_CERT_FILE=/path/ca.crt",
        )
        return f"has a certificate that is not trusted here ({error.verify_message}); {advice}"
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionResetError)):
        reason = getattr(error, "reason", None) or error.strerror
        return f"does not speak TLS as expected ({reason}); a port without TLS needs mqtt://, not mqtts://"
    if isinstance(error, socket.gaierror):
        return "cannot be reached: its host name is not known"
    if isinstance(error, TimeoutError):
        return "cannot be reached: it does not answer"
    if isinstance(error, ConnectionRefusedError) or not isinstance(error, OSError):
        return "cannot be reached"
    return f"cannot be reached: {error.strerror or error}"
