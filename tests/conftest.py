"""What all tests share: each worker calculates in one thread, with bytecode; nothing depends on speed."""

import os
import sys

from hypothesis import HealthCheck, settings

# As under both command lines; and the workers of pytest-xdist share the cores already.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
# Hundreds of tests start `edge` anew: without bytecode each one would compile all of it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No deadline, whatever the machine does besides; on an emulated processor (tests/arm) fewer cases.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("emulated", settings.get_profile("here"), max_examples=20)
settings.load_profile("here")
