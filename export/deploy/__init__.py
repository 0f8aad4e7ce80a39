"""Installs a bundle and this program on a device over ssh.
May import `edge`, and of `export` nothing above `bundle`."""
