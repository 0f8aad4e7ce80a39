"""Memory that is no longer needed goes back to the system at once, which a board of 512 MB feels.

glibc keeps freed blocks of up to 32 MB for itself once it has seen one of that size, in pieces into which the next one
may not fit: fitting a head to 10,000 examples of 1,280 numbers then takes 210 MB instead of 130.

Loading a network leaves holes too: ONNX Runtime frees 40 of the 80 MB that it takes to load EfficientNet-Lite0.

Source: mallopt(3), M_MMAP_THRESHOLD: a threshold that was set stays as it is; malloc_trim(3).
"""

import contextlib
import ctypes

_THRESHOLD = -3  # M_MMAP_THRESHOLD
_BYTES = 1 << 22


def give_back() -> None:
    """From now on give back blocks of 4 MB and more when they are freed; nothing happens where the C library cannot."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_THRESHOLD, _BYTES)


def trim() -> None:
    """Give back now what lies free between blocks in use; nothing happens where the C library cannot."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
