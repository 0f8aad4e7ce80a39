"""Training a network on a folder of photos, and the report of it.
May import `compare`, `bundle`, `convert`, `network` and `photos`."""
