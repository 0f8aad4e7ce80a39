"""Deals with the operating system: silences native libraries, returns freed memory, reads names that are not UTF-8.
May import the standard library."""
