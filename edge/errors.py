"""All errors of the package.

Every error is an `EdgeError` with a stable `code` (docs/errors.md). Each class is also a subclass of the builtin
exception that fits, so it can be caught without importing this package::

    EdgeError
    ├── ImageError        (ValueError)    a picture cannot be read, or is too large
    ├── LabelError        (ValueError)    a label is not valid, or not known
    ├── BundleError       (ValueError)    a bundle, model or weights file is missing, damaged or unsuitable
    │   ├── ParityError   (BundleError)   a network gives other results than on the workstation
    │   └── SignatureError (BundleError)  a signature or key is missing, wrong or not trusted
    ├── RuntimeMissing    (ImportError)   a library that is needed is missing or cannot be loaded
    ├── NotEnough         (ValueError)    there are too few examples or labels
    ├── DatasetError      (ValueError)    a folder of photos cannot be used
    ├── FleetError        (ValueError)    a contribution, release or plan of a fleet is damaged or does not fit
    ├── StoreError        (OSError)       the store of a fleet cannot be reached or refuses
    ├── SourceError       (OSError)       a camera, stream or folder cannot be watched
    │   └── SourceRefused (SourceError)   the same, and waiting will not help
    └── HomeError         (OSError)       the home folder cannot be used
        ├── HomeMissing   (HomeError)     the home does not exist yet; run `edge init` first
        └── HomeBusy      (HomeError)     another process is using the home

Every message is one line that says what is wrong, both values if two do not match, and what to do next.

Source: the shape of gpiozero's and river's error trees; the rule of one line is ours.
"""

import contextlib
from collections.abc import Iterator

UNDAMAGED = ("home-missing", "home-busy", "home-not-yours")  # codes of a home that cannot be opened, but is intact


class EdgeError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        code: the kind of error, a key of `edge.codes.CODES`; its meaning never changes.
        message: one line for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, str(self)), self.__dict__


class ImageError(EdgeError, ValueError):
    """A picture cannot be read (it is damaged, or not a picture), or is too large to be decoded safely.

    Args:
        code: as `EdgeError`.
        message: as `EdgeError`.
        reason: the group in which the file is counted, a kind of `edge.picture.count.REASONS`.
    """

    def __init__(self, code: str, message: str, reason: str = "damaged") -> None:
        super().__init__(code, message)
        self.reason = reason


class LabelError(EdgeError, ValueError):
    """A label is not a valid name, or does not exist."""


class BundleError(EdgeError, ValueError):
    """A bundle, model or weights file is missing, damaged, unsuitable, unsafe, or newer than this program."""


class ParityError(BundleError):
    """A network gives embeddings that differ from those of the workstation by more than the tolerance."""


class SignatureError(BundleError):
    """A bundle is not signed with a trusted key or is older than the installed one, or a key is not valid."""


class RuntimeMissing(EdgeError, ImportError):
    """A library or program that runs networks or checks signatures is not installed, or cannot be loaded."""


class NotEnough(EdgeError, ValueError):
    """There are too few examples, or too few labels, for this."""


class DatasetError(EdgeError, ValueError):
    """A folder of photos is not arranged as one folder per label with photos in each."""


class FleetError(EdgeError, ValueError):
    """A contribution, release or plan of a fleet is damaged, impossible, or does not fit what is here."""


class StoreError(EdgeError, OSError):
    """The store that a fleet shares cannot be reached, or refuses what is asked of it."""


class SourceError(EdgeError, OSError):
    """A camera, stream or folder cannot be watched, its library is missing, or a region is not valid."""


class SourceRefused(SourceError):
    """A camera cannot work as given, however long one waits: wrong password, path, permission or certificate."""


class HomeError(EdgeError, OSError):
    """The home folder cannot be read or written, or contains something else."""


class HomeMissing(HomeError):
    """The home does not exist yet."""


class HomeBusy(HomeError):
    """Another process has locked the home for too long."""


@contextlib.contextmanager
def disk_errors_as(kind: type[EdgeError], code: str, what: str, remedy: str) -> Iterator[None]:
    """Turn an error of the operating system into one of ours: "what (the system's reason); remedy"."""
    try:
        yield
    except EdgeError:
        raise
    except OSError as error:
        raise kind(code, f"{what} ({error.strerror or error}); {remedy}") from error
