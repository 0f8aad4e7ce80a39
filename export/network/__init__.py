"""The networks that can be adapted, and where their weights come from.
May import `photos`."""
