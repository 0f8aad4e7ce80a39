"""Trains a network on a folder of photos, and reports how it went.
May import `compare`, `bundle`, `convert`, `network` and `photos`."""
