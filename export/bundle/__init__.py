"""From a folder of photos to a bundle, checked and signed.
May import `convert`, `network` and `photos`."""
