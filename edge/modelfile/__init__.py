"""Reads and writes model files byte by byte: checks them before a runtime loads them, and appends a head.
May import numpy and the standard library."""
