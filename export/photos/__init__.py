"""Class folders of photos: read, sorted out, split, and shown to a network.
May import `edge`, and nothing of `export` but `written`."""
