"""Sources of frames: cameras, streams, video files and folders.
May import `picture`, `metrics` and `system`; knows nothing of networks and homes."""
