"""What many devices were taught, pooled: exact sums, a sample of bounded size, the head, the truth about each device.

Numbers only: no store, no file, no clock. export/fleet reads contributions into it and makes bundles of it.
"""
