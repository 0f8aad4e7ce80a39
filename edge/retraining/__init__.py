"""Makes the next head from the examples: gather, fit, measure, compare with the current one, store.
May import `home`, `bundle` and everything below them."""
