"""A home: the folder and the database with a bundle and everything taught since; no other folder contains SQL.
May import `network`, `bundle` and everything below them."""
