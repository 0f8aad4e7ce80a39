"""Finds problems in the examples, and writes the page that shows them.
May import `home`, `network` and everything below them."""
