"""Decides whether a picture resembles anything taught here, and whether pictures here resemble those of the bundle.
May import `metrics`, `head`, numpy and the standard library."""
