"""What all tests share: numpy calculates in one thread, as it does under both command lines."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
