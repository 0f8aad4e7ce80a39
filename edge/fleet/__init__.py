"""The device's half of a fleet: sends what was taught here to a shared store, and installs releases from it.
May import `learning` and everything below it."""
