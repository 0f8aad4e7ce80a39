"""Maintenance of a home and its machine: `doctor`, `verify`, `backup` and `restore`.
May import the learner and everything below it."""
