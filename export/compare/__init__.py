"""Measures which network suits a set of photos before any training.
May import `bundle`, `convert`, `network` and `photos`."""
