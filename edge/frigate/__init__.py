"""Frigate's tracked objects as pictures, and the answers written back to them; `edge.camera.frigate` owns the HTTP API.
May import `mqtt`, `camera` and `picture`."""
