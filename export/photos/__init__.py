"""Folders of photos, one per label: found, decoded, checked, split, and drawn for training.
May import `edge`, and nothing of `export` but `written`."""
