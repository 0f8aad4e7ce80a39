"""Decides whether a picture is like anything taught here, and whether the pictures here resemble those of the bundle.
Pure: imports numpy, the standard library, `metrics` and `head`."""
