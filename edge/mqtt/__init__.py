"""The MQTT broker: what is published there, how Home Assistant finds it, and what may be asked through it.

The library calls us from a thread of its own. It only notes what arrived; the learner's thread does it, between two
frames.
"""
