"""paho-mqtt, imported here alone: a client for one broker, and what is wrong with that broker in plain words."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from edge.camera.address import Address
from edge.errors import SourceError
from edge.mqtt.address import PORTS
from edge.mqtt.trouble import why

if TYPE_CHECKING:
    from paho.mqtt.client import Client


class Broker:
    """A broker; its text is its host and port.

    Args:
        wanted_by: what needs paho-mqtt, with its verb, for the error: "--mqtt needs".

    Raises:
        SourceError: paho-mqtt is not installed.
    """

    def __init__(self, address: Address, wanted_by: str) -> None:
        try:
            from paho.mqtt import client, enums
        except ImportError:
            raise SourceError(
                "library-missing", f"{wanted_by} paho-mqtt; run: pip install 'edge-transfer[mqtt]'"
            ) from None
        self._new = partial(client.Client, enums.CallbackAPIVersion.VERSION2)
        self._address, self._port = address, address.port or PORTS[address.scheme]

    def __str__(self) -> str:
        host = self._address.host
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    def client(self, client_id: str = "") -> "Client":
        """Return a client that connects, and reconnects, from its `loop_start` on.

        Args:
            client_id: the client's id; a broker accepts only one connection per id; "" for a random one.
        """
        client = self._new(client_id=client_id)
        client.connect_timeout = 5.0
        if self._address.user is not None:
            client.username_pw_set(self._address.user, self._address.password)
        if self._address.scheme == "mqtts":
            client.tls_set()
        client.reconnect_delay_set(1, 30)
        client.connect_async(self._address.host, self._port, keepalive=30)
        return client

    def refuses(self, reason: Any) -> str:
        """Return a line about a refused connection, given paho-mqtt's reason."""
        advice = "check the user name and password in --mqtt" if reason.value in (134, 135) else "trying again"
        return f"broker {self} refuses: {reason}; {advice}"

    def unreachable(self) -> str:
        """Return a line about a broker that cannot be reached; called in paho-mqtt's `on_connect_fail`."""
        return f"broker {self} {why(sys.exc_info()[1], self._address.scheme == 'mqtts')}; waiting for it"
