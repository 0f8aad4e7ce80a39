"""Picture files: found, read, decoded and cropped for the network.
May import `system`."""
