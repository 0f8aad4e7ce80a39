"""What is wrong with the taught examples, and the page that shows it.
May import `home`, `network` and everything below them."""
