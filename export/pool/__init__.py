"""Pools what many devices were taught: exact sums, a sample of bounded size, the head, and how each device does.
May import `edge`, and nothing else of `export`.

Numbers only: no store, no file, no clock. export/fleet reads the contributions and writes the bundle.
"""
