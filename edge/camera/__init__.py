"""Frames one after another from cameras, streams, films and folders.
May import `picture` and `system`; knows nothing of networks and homes."""
