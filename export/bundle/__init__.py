"""From a folder of photos to a bundle, and the check of one.
May import `convert`, `network` and `photos`."""
