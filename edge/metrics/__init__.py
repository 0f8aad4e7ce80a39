"""How good a head is, and whether a new one is better: figures with their intervals, and what they left out.
Pure: imports numpy, the standard library and `head`."""
