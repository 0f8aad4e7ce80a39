"""The fleet's shared store, opened by URL: a bucket, a WebDAV server or a folder.

`put` creates an object, `get` and `part` read one, `names` lists them. No object is ever replaced, and putting the same
bytes again is harmless, so a put can be repeated if its reply was lost. Transport, retries and logins are obstore's
(Rust's object_store): credentials come from the environment or the machine, as for each store's own tools, and never
appear in a message.

| URL | credentials |
|---|---|
| `s3://BUCKET/FOLDER` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`; `AWS_ENDPOINT` for another server |
| `gs://BUCKET/FOLDER` | `GOOGLE_SERVICE_ACCOUNT`, the path of its key file |
| `az://CONTAINER/FOLDER` | `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY` |
| `https://SERVER/FOLDER` | WebDAV; a user and password in the URL |
| `file:///FOLDER` | none: a mounted disk or share |
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from edge.errors import RuntimeMissing, StoreError
from edge.files import abandoned, replacing, sync_folder

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore

SCHEMES = ("s3", "gs", "az", "https", "file")
MAX_NAMES = 5_000_000  # objects listed at most
_CONNECT, _ANSWER = "10s", "120s"  # time limits for connecting, and for a whole request
_RETRIES, _PATIENCE = 3, timedelta(seconds=60)


@dataclass(frozen=True)
class Entry:
    """A listed object: its name, size in bytes, and the time at which the store received it."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Remote:
    """An open store."""

    url: str  # the URL without secrets, for messages
    _store: "ObjectStore" = field(repr=False)
    _folder: Path | None = field(repr=False)

    def put(self, name: str, data: bytes) -> bool:
        """Store bytes under a new name; returns False if the same bytes were there already.

        Raises:
            StoreError: the name is taken by other bytes, or the store cannot be reached or refuses.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            with self._explained(name):
                if self._folder is None:
                    obstore.put(self._store, name, data, mode="create", use_multipart=False)
                else:
                    _create(self._folder, name, data)
        except (AlreadyExistsError, FileExistsError):
            if self._holds(name, data):
                return False
            raise StoreError(
                "store-name-taken", f"{self.url} already holds another {name}; nothing was changed"
            ) from None
        return True

    def get(self, name: str, most: int) -> bytes:
        """Return an object's bytes.

        Args:
            most: size limit in bytes; a larger object is refused before it is read.

        Raises:
            StoreError: the object is missing or too large, or the store cannot be reached or refuses.
        """
        import obstore

        with self._explained(name):
            found = obstore.get(self._store, name)
            if found.meta["size"] <= most:
                return bytes(found.bytes())
        raise StoreError(
            "store-too-large", f"{self.url}: {name} has {found.meta['size']} bytes, at most {most} are allowed"
        )

    def size(self, name: str) -> int:
        """Return an object's size in bytes.

        Raises:
            StoreError: the object is missing, or the store cannot be reached or refuses.
        """
        import obstore

        with self._explained(name):
            return int(obstore.head(self._store, name)["size"])

    def part(self, name: str, start: int, length: int) -> bytes:
        """Return a range of an object's bytes, in one request.

        Raises:
            StoreError: the object is missing or shorter, or the store cannot be reached or refuses.
        """
        import obstore

        with self._explained(name):
            return bytes(obstore.get_range(self._store, name, start=start, length=length))

    def entries(self, prefix: str) -> Iterator[Entry]:
        """List the objects whose names begin with `prefix`, a folder that ends in "/", in any order.

        Raises:
            StoreError: the store cannot be reached or refuses.
        """
        import obstore

        with self._explained(prefix):
            seen = 0
            for batch in obstore.list(self._store, prefix):
                for found in batch:
                    seen += 1
                    if seen > MAX_NAMES:
                        raise StoreError("store-too-large", f"{self.url}: more than {MAX_NAMES} objects in {prefix}")
                    yield Entry(found["path"], found["size"], found["last_modified"])

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects in a folder, sorted; raises the errors of `entries`."""
        return sorted(entry.name for entry in self.entries(prefix))

    def _holds(self, name: str, data: bytes) -> bool:
        return self.size(name) == len(data) and self.get(name, len(data)) == data

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn a store's exceptions into `StoreError`, one line each."""
        from obstore.exceptions import AlreadyExistsError, BaseError

        try:
            yield
        except (AlreadyExistsError, FileExistsError):
            raise
        except (BaseError, OSError, ValueError) as error:
            if isinstance(error, StoreError):
                raise
            raise _explained(error, self.url, name) from None  # the original text may contain a password


def _create(root: Path, name: str, data: bytes) -> None:
    """Create a file below a folder so that a power cut leaves it whole or not at all: obstore does not sync.

    Raises:
        FileExistsError: the file exists; its name is on the disk now, should a power cut have come before that.
        OSError: the disk refuses.
    """
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in abandoned(path):
        left.unlink(missing_ok=True)
    try:
        with replacing(path, new=True) as partial:
            partial.write_bytes(data)
    finally:
        for folder in path.relative_to(root).parents:
            sync_folder(root / folder)


def open_remote(url: str) -> Remote:
    """Open a store, without connecting to it yet.

    Raises:
        StoreError: the kind of URL is not supported, or the URL is incomplete.
        RuntimeMissing: obstore is not installed.
    """
    shown = _shown(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if (
        parts.scheme not in SCHEMES
        or "@" in parts.path
        or not (parts.netloc or (parts.scheme == "file" and parts.path.startswith("/")))
    ):
        raise _no_url(shown)
    try:
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url
    except ImportError as error:
        raise RuntimeMissing(
            "library-missing", "a fleet's store needs obstore; run: pip install 'edge-transfer[fleet]'"
        ) from error
    folder = Path(os.fsdecode(unquote_to_bytes(parts.path))) if parts.scheme == "file" else None
    if folder is not None:
        if parts.netloc not in ("", "localhost") or not folder.is_dir():
            raise StoreError("store-missing", f"{shown}: there is no such folder; create it, or mount its disk")
        return Remote(shown, LocalStore(folder), folder)
    insecure = any(os.environ.get(f"{kind}ALLOW_HTTP", "").lower() in ("1", "true") for kind in ("AWS_", "AZURE_", ""))
    options: ClientConfig = {"connect_timeout": _CONNECT, "timeout": _ANSWER, "allow_http": insecure}
    retries = {"max_retries": _RETRIES, "retry_timeout": _PATIENCE}
    try:
        return Remote(shown, from_url(url, client_options=options, retry_config=retries), None)  # type: ignore[call-overload]
    except ValueError:
        raise _no_url(shown) from None
    except BaseError as error:
        raise _explained(error, shown, "") from None


def _no_url(shown: str) -> StoreError:
    return StoreError(
        "store-url-invalid",
        f"'{shown}' is not the URL of a store; give s3://BUCKET/FOLDER, gs://…, az://…, https://… or file:///FOLDER, "
        "with %40 for @ and %2F for / in a password",
    )


def _shown(url: str) -> str:
    """Return a URL without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "?"
    place = (parts.netloc + parts.path).rpartition("@")[2]
    shown = f"{parts.scheme}://{place}" if parts.scheme else place
    return "".join(c for c in shown if c.isprintable())[:200]


def _explained(error: Exception, url: str, name: str) -> StoreError:
    """Return one line on why a store's operation failed, without secrets that its message may quote."""
    told = str(error).split("\n")[0]
    status = re.search(r"status code: ([0-9]{3})", told)
    number = int(status[1]) if status else 0
    kind = type(error).__name__
    if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
        return StoreError("store-missing", f"{url}: there is no such bucket; create it, or check the URL")
    if isinstance(error, FileNotFoundError) or number == 404:
        return StoreError("store-missing", f"{url} holds no {name}; check the URL")
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or number in (401, 403) or _lacks_login(told):
        return StoreError(
            "store-refused",
            f"{url} refuses{f' ({number})' if number else ''}: no credentials were found, or they do not allow this; "
            "set those of the store in the environment (docs/fleet.md)",
        )
    if "error sending request" in told or "timed out" in told or "HTTP error" in told:
        return StoreError(
            "store-unreachable", f"{url} cannot be reached; nothing was lost, try again when the network is back"
        )
    if isinstance(error, OSError) or "LocalFileSystem" in told:
        why = re.search(r"message: \"([^\"]{1,80})\"", str(error))
        told = why[1] if why else getattr(error, "strerror", None) or "the disk refuses"
        return StoreError("store-failed", f"{url}: {name}: {told}; check the disk")
    return StoreError(
        "store-failed",
        f"{url} failed{f' with status {number}' if number else f' ({kind})'} at {name or 'opening'}; try again later",
    )


def _lacks_login(told: str) -> bool:
    """Whether credentials are missing: some are named as missing, or it tried those of a machine in that cloud."""
    return any(word in told for word in ("169.254.169.254", "metadata.google", "must be specified", "redential"))
