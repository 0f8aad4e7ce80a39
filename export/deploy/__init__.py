"""Bringing a bundle and this program to a device over ssh.
May import `edge`, and of `export` nothing above `bundle`."""
