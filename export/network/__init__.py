"""The networks that can be used, and the origin of their weights.
May import `photos`."""
