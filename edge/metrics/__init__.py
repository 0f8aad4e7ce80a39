"""Measures how good a head is and whether a new one is worse: figures with intervals, and what they leave out.
Pure: imports numpy, the standard library and `head`."""
