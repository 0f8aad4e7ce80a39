"""Measures how good a head is and whether a new one is worse, with intervals and with what was left out.
May import `head`, numpy and the standard library."""
