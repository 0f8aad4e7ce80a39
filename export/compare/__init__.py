"""Which network suits these photos, measured before any training.
May import `bundle`, `convert`, `network` and `photos`."""
