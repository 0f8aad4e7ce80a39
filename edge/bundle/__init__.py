"""The bundle, the file that the workstation makes and the device runs: its layout, manifest and signature.
May import `unknown`, `metrics` and `head`."""
