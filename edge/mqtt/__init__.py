"""The connection to an MQTT broker: what is published, how Home Assistant finds it, and the commands that it may send.
May import `care`, the learner and everything below it.

paho-mqtt calls our code from its own thread, which only stores each message; the learner's thread handles it between
two frames.
"""
