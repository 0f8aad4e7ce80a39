"""The workstation's half of a fleet: the contributions in a store become one bundle, which is released step by step.

What a device writes and reads stands in edge/fleet, the mathematics in export/pool; docs/fleet.md is the manual.
"""
