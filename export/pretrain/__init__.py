"""Trains a backbone from scratch: the recipe of the weights in this package.
May import `adapt` for its processes and checkpoints, `network` and `photos`."""
