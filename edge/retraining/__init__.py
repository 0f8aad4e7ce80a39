"""From what was taught to the next head: gather, fit, measure, compare with the one that serves, store.
May import `home`, `bundle` and everything below them."""
