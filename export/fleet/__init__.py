"""The workstation's half of a fleet: merges the contributions in a store into one bundle, and releases it step by step.
May import `edge`, `deploy` and `pool`.

The device's half is edge/fleet, the mathematics export/pool; docs/fleet.md is the manual.
"""
