"""The files of networks, read and written byte by byte: checked before a runtime sees them, and grafted with a head.
Pure: imports numpy and the standard library."""
