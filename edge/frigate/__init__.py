"""Frigate's tracked objects as pictures, and the answers written back to them. May import the camera, and what tells a
broker. Its HTTP API is in `edge.camera.frigate`."""
