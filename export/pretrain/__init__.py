"""Training a backbone from nothing, the recipe of the weights that ship here.
May import `adapt` for its processes and checkpoints, `network` and `photos`."""
