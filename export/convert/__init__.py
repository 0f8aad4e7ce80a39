"""Converts PyTorch networks to the files that devices run, and proves that each gives the same answers.
May import `network` and `photos`."""
