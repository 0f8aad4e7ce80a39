"""What the operating system needs to be told: native libraries' chatter, memory given back, names of any bytes.
Imports the standard library alone."""
