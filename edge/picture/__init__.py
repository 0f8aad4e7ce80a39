"""Picture files: found, read, decoded and cut as the network sees them.
May import `system`."""
