"""A home: the folder and the database that hold a bundle and everything taught since; all SQL stands here.
May import `network`, `bundle` and everything below them."""
