"""Is a picture like anything taught here, and do the pictures here resemble those of the bundle.
Pure: imports numpy, the standard library, `metrics` and `head`."""
