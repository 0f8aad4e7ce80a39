"""A home: the folder and the database with a bundle and everything taught since. All SQL is in this folder.
May import `network`, `bundle` and everything below them."""
