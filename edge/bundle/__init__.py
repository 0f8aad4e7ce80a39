"""The one file that the workstation ships and the device runs: its layout, its manifest, who signed it.
May import `unknown`, `metrics` and `head`."""
