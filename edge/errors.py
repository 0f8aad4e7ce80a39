"""Every failure of the package, drawn as a tree.

One base, `EdgeError`, so that a program can catch them all; each leaf is also the builtin that fits, so that
a program that knows nothing of us can catch it too::

    EdgeError
    ├── ImageError        (ValueError)    a picture that cannot be read, or must not be
    ├── LabelError        (ValueError)    a class name that is not one, or is not known here
    ├── BundleError       (ValueError)    a bundle that is missing, damaged, foreign or too new
    │   ├── ParityError   (BundleError)   a network that answers otherwise than it did on the workstation
    │   └── SignatureError (BundleError)  a bundle that nobody trusted here has signed, or an older one
    ├── RuntimeMissing    (ImportError)   nothing here can run the network, or check a signature
    ├── NotEnough         (ValueError)    too few examples or labels for what was asked
    ├── DatasetError      (ValueError)    a folder of photos that cannot be used as one
    ├── SourceError       (OSError)       a camera, stream or folder that cannot be watched
    │   └── SourceRefused (SourceError)   one that will not work however long it is waited for
    └── HomeError         (OSError)       the device's home folder cannot be used
        ├── HomeMissing   (HomeError)     there is none yet: `edge init` first
        └── HomeBusy      (HomeError)     another process holds it

Every message is one line that says what is wrong, both values where two do not fit, and the next action.

Source: the shape of gpiozero's and river's error trees; the rule of one line is ours.
"""


class EdgeError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        code: what kind of thing happened, a key of `edge.codes.CODES`; it never changes its meaning.
        message: one line for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, str(self)), self.__dict__


class ImageError(EdgeError, ValueError):
    """A picture that cannot be read (truncated, not a picture) or must not be (a decompression bomb).

    Args:
        code: as `EdgeError`.
        message: as `EdgeError`.
        reason: the group in which the file is counted, a kind of `edge.picture.count.REASONS`.
    """

    def __init__(self, code: str, message: str, reason: str = "damaged") -> None:
        super().__init__(code, message)
        self.reason = reason


class LabelError(EdgeError, ValueError):
    """A label that is no valid name, or is not known where it was used."""


class BundleError(EdgeError, ValueError):
    """A bundle that is missing, damaged, foreign, hostile, or newer than this program."""


class ParityError(BundleError):
    """A network whose embeddings stray from those of the workstation further than its tolerance."""


class SignatureError(BundleError):
    """A bundle that nobody trusted here has signed, or an older one than was adopted; or a key that is none."""


class RuntimeMissing(EdgeError, ImportError):
    """Nothing installed can run the network or check a signature, or what is installed cannot be loaded."""


class NotEnough(EdgeError, ValueError):
    """Too few examples, or too few labels, for what was asked."""


class DatasetError(EdgeError, ValueError):
    """A folder of photos that does not hold one class folder per label with photos in each."""


class SourceError(EdgeError, OSError):
    """A camera, stream or folder that cannot be watched, the library for it that is missing, or a region of none."""


class SourceRefused(SourceError):
    """A camera that is there and will never work as it was named: a wrong password, path, permission or certificate."""


class HomeError(EdgeError, OSError):
    """The home folder cannot be read or written, or holds something else."""


class HomeMissing(HomeError):
    """There is no home here yet."""


class HomeBusy(HomeError):
    """Another process holds the home's lock longer than we are willing to wait."""
