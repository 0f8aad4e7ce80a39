"""From PyTorch to the files that devices run, each proved to answer alike.
May import `network` and `photos`."""
