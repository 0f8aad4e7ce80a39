"""What all tests share: numpy calculates in one thread, as it does under both command lines."""

import os

from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# on an emulated processor (tests/arm): fewer cases, and none too slow
settings.register_profile("emulated", deadline=None, max_examples=20)
