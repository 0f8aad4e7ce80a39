"""Frigate's HTTP API: the newest frame of a camera, the picture of a tracked object, and what is written back to it.

    frigate://[user:password@]HOST[:PORT]/CAMERA[/OBJECTS[/ZONES]]

Without a user name, Frigate is asked on its port 5000, which needs no login and no encryption; with one, on its port
8971 over TLS, where `POST /api/login` gives a cookie. The cookie lasts a day, so a 401 is answered with one new login.

Source: docs/static/frigate-api.yaml, frigate/api/{auth,event,media}.py and docs/configuration/authentication.md of
Frigate 0.18.0 (commit e3fa701 of 2026-07-23).
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, unquote

from edge.camera import client
from edge.camera.address import Address
from edge.camera.mjpeg import CHUNK, MAX_BYTES
from edge.errors import SourceError, SourceRefused

if TYPE_CHECKING:
    from requests import Response

SCHEME = "frigate"
OPEN, LOGIN = 5000, 8971  # Frigate's ports without and with a login
TIMEOUT = 5.0  # seconds: to connect, from one byte to the next, and for a whole answer
QUALITY = 95  # of the JPEG files asked for; Frigate's own default is 70
_FORM = "write frigate://HOST/CAMERA for its frames, or frigate://HOST/CAMERA/person,dog for tracked objects"


@dataclass(frozen=True)
class Place:
    """What of a Frigate is watched.

    >>> place = Place.parse("frigate://me:secret@nvr/front_door/cat,dog/porch")
    >>> str(place), place.address.bare, place.objects, place.zones
    ('nvr:8971/front_door/cat,dog/porch', 'https://nvr:8971', ('cat', 'dog'), ('porch',))
    >>> str(Place.parse("frigate://nvr/garage"))
    'nvr:5000/garage'
    """

    address: Address  # of its HTTP API
    camera: str  # its name there
    # labels of the tracked objects to look at, such as "person"; none: the camera's frames
    objects: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()  # only objects that are in one of these zones; none: wherever they are

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            SourceError: it is malformed, or names no camera; the message repeats nothing of it.
        """
        given = Address.parse(text, {SCHEME})
        parts = [part for part in given.rest.split("/")[1:] if part]
        if "?" in given.rest or "#" in given.rest or not 1 <= len(parts) <= 3:
            raise SourceError("address-invalid", f"this frigate address names no camera; {_FORM}")
        port = given.port or (OPEN if given.user is None else LOGIN)
        secure = given.user is not None or port == LOGIN
        address = given._replace(scheme="https" if secure else "http", port=port, rest="")
        named = [tuple(unquote(one) for one in part.split(",") if one) for part in parts[1:]]
        return cls(address, unquote(parts[0]), *named)

    def __str__(self) -> str:
        parts = [str(self.address), self.camera, ",".join(self.objects), ",".join(self.zones)]
        return "/".join(part for part in parts if part)


class Snapshot(NamedTuple):
    """The best picture of a tracked object so far: a JPEG file, and when its frame was taken, if Frigate says so."""

    data: bytes
    time: float | None  # seconds since 1970


class Frigate:
    """Frigate's HTTP API, for one thread.

    Args:
        address: of the API; with a user, it is logged in to.
    """

    def __init__(self, address: Address, self_signed: bool = False) -> None:
        self._address = address
        with client.plainly():
            self._session = client.session(address, self_signed)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def config(self) -> dict[str, Any]:
        """Return Frigate's configuration, as its API shows it to any user.

        Raises:
            SourceRefused: Frigate will never answer so.
            SourceError: it does not answer now.
        """
        answer = self._ask("GET", "config")
        self._check(answer)
        found = self._json(answer)
        if not isinstance(found.get("cameras"), dict):
            raise SourceRefused("address-refused", "what answers there is not Frigate; check host and port")
        return found

    def latest(self, camera: str) -> bytes:
        """Return the newest frame of a camera, a JPEG file.

        Raises:
            SourceRefused, SourceError: as `config`; the camera does not exist, or gives Frigate no picture now.
        """
        answer = self._ask("GET", f"{quote(camera, safe='')}/latest.jpg", quality=QUALITY)
        if answer.status_code == 404:
            raise self.no_camera(camera)
        self._check(answer)
        data = self._read(answer)
        if answer.headers.get("X-Frigate-Offline") == "true":
            raise SourceError("stream-failed", "Frigate has no picture of this camera now")
        return data

    def no_camera(self, camera: str) -> SourceRefused:
        """Return the error that says which cameras there are instead."""
        names = ", ".join(sorted(self.config()["cameras"])) or "none"
        return SourceRefused("address-refused", f"Frigate has no camera '{camera}'; its cameras are: {names}")

    def snapshot(self, event: str, crop: bool) -> Snapshot | None:
        """Return the best picture of a tracked object: the frame, or what Frigate cuts out of it; None: it has none.

        Raises:
            SourceRefused, SourceError: as `config`.
        """
        path = f"events/{quote(event, safe='')}/snapshot.jpg"
        answer = self._ask("GET", path, bbox=0, timestamp=0, crop=int(crop), quality=QUALITY)
        if answer.status_code == 404:
            return None
        self._check(answer)
        try:
            taken = float(answer.headers["X-Frame-Time"])
        except (KeyError, ValueError):
            taken = None
        return Snapshot(self._read(answer), taken)

    def put_sub_label(self, event: str, label: str | None, score: float | None = None) -> None:
        """Set the sub label of a tracked object; None removes it.

        Args:
            event: the object's id.
            label: at most 100 characters.
            score: in (0, 1], its probability.

        Raises:
            SourceRefused, SourceError: as `config`; the user is no admin, or the object does not exist.
        """
        body = {"subLabel": label or ""} | ({"subLabelScore": score} if label and score else {})
        self._check(self._ask("POST", f"events/{quote(event, safe='')}/sub_label", body))

    def put_attributes(self, event: str, labels: Sequence[str]) -> None:
        """Set the attributes of a tracked object, which Frigate takes only from the classes of its own models.

        Raises:
            SourceRefused, SourceError: as `put_sub_label`; or no attribute model of Frigate is for such objects.
        """
        self._check(self._ask("POST", f"events/{quote(event, safe='')}/attributes", {"attributes": list(labels)}))

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: int) -> "Response":
        """Send a request, after a login where one is needed."""
        answer = self._send(method, path, body, query)
        if answer.status_code == 401 and self._address.user is not None:
            self._log_in(self._address.user)
            answer = self._send(method, path, body, query)
        if answer.status_code == 401:
            raise SourceRefused(
                "login-refused",
                "Frigate asks for a login: write frigate://user:password@HOST, or use its port 5000, which needs none",
            )
        return answer

    def _log_in(self, user: str) -> None:
        answer = self._send("POST", "login", {"user": user, "password": self._address.password or ""}, {})
        if answer.status_code == 401:
            raise SourceRefused(
                "login-refused", "Frigate refuses the user name or password; if one contains / # ? @ : or %, escape it"
            )
        self._check(answer)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, query: dict[str, int]) -> "Response":
        with client.plainly(TIMEOUT):
            return self._session.request(
                method, f"{self._address.bare}/api/{path}", json=body, params=query, stream=True, timeout=TIMEOUT,
                allow_redirects=False,
            )  # fmt: skip

    def _check(self, answer: "Response") -> None:
        """Raise what the status says, if it is not success."""
        status = answer.status_code
        if status < 300:
            return
        known = client.answered(status)
        if client.passes(status):
            raise SourceError("stream-failed", known)
        if status == 403:
            raise SourceRefused(
                "address-refused", f"{known}: this user may not do that; writing to Frigate needs the role admin"
            )
        said = self._json(answer).get("message")
        why = f": {said}" if isinstance(said, str) and said.isprintable() and len(said) < 200 else ""
        raise SourceRefused("address-refused", known + why)

    def _json(self, answer: "Response") -> dict[str, Any]:
        """Return the JSON object of an answer; an empty one if it is something else."""
        try:
            found = json.loads(self._read(answer))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _read(self, answer: "Response") -> bytes:
        end, data = time.monotonic() + TIMEOUT, bytearray()
        with client.plainly(TIMEOUT), answer:
            for part in answer.iter_content(CHUNK):
                data += part
                if len(data) > MAX_BYTES or time.monotonic() > end:
                    raise SourceError(
                        "stream-failed", f"no answer of at most {MAX_BYTES / 1e6:.0f} MB within {TIMEOUT:.0f} s"
                    )
        return bytes(data)


def frames(place: Place, every: float, self_signed: bool) -> Iterator[bytes]:
    """Yield the newest frame of a camera again and again.

    Args:
        every: seconds from one asking to the next.

    Raises:
        SourceRefused, SourceError: as `Frigate.latest`.
    """
    api = Frigate(place.address, self_signed)
    try:
        while True:
            yield api.latest(place.camera)
            time.sleep(every)
    finally:
        api.close()
