"""Parses a broker's address, mqtt://[user:password@]host[:port][/NAME]; addresses are never shown."""

import hashlib
import re
import socket
import unicodedata
from pathlib import Path
from urllib.parse import unquote

from edge.camera.address import Address
from edge.errors import SourceError
from edge.labels import hidden

PORTS = {"mqtt": 1883, "mqtts": 8883}
LONGEST_NAME = 100  # characters
_EXAMPLE = "mqtt://user:password@host:1883/garage, or mqtts:// for TLS"


def parsed(url: str) -> tuple[Address, str]:
    """Return the parts of an address, and the NAME in it or "".

    Raises:
        SourceError: the address is malformed; the message does not show it.

    >>> address, name = parsed("mqtt://me:secret@broker.local/my garage")
    >>> address.host, name
    ('broker.local', 'my garage')
    """
    place, slash, name = url.partition("://")[2].partition("/")
    if slash:  # spaces are allowed in NAME
        url = f"{url.partition('://')[0]}://{place}/{name.replace(' ', '%20')}"
    try:
        address = Address.parse(url, PORTS)
    except SourceError as error:
        raise _invalid(str(error)) from None
    if re.search("[?#]", address.rest):
        raise SourceError(
            "address-invalid",
            f"--mqtt: this address contains ? or # after the host; write them as %3F and %23, as in {_EXAMPLE}",
        )
    if address.user == "" or "\ufffd" in f"{address.user}{address.password}" or "\0" in (address.user or ""):
        raise _invalid("this address has a user name or password that no broker accepts")
    try:
        if ":" not in address.host and not re.fullmatch(rb"[\w.-]+", address.host.encode("idna")):
            raise UnicodeError
    except UnicodeError:
        raise _invalid("the host name in this address is not valid") from None
    name = unicodedata.normalize("NFC", unquote(address.rest)).strip("/ ")
    if len(name) > LONGEST_NAME or "\ufffd" in name or any(hidden(c) or unicodedata.category(c) == "Cn" for c in name):
        raise _invalid(
            f"the NAME in this address is longer than {LONGEST_NAME} characters, or contains one that cannot be printed"
        )
    return address, name


def _invalid(why: str) -> SourceError:
    return SourceError("address-invalid", f"--mqtt: {why}; write it like {_EXAMPLE}")


def identity(home: Path, source: str, machine: Path = Path("/etc/machine-id")) -> str:
    """Return 16 hexadecimal digits that identify this machine, home and source, and stay the same after a restart.

    Args:
        source: the source as the user wrote it; its user and password are ignored.
        machine: a file that contains this machine's unique id.
    """
    try:
        number = machine.read_text()
    except (OSError, ValueError):
        number = ""
    parts = (number, socket.gethostname(), str(home.absolute()), re.sub("//[^/]*@", "//", source))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
