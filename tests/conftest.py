"""What all tests share: numpy calculates in one thread, as under both command lines; nothing depends on speed."""

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# No deadline, whatever the machine does besides; on an emulated processor (tests/arm) fewer cases.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("emulated", settings.get_profile("here"), max_examples=20)
settings.load_profile("here")
