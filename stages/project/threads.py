"""One thread for numerical libraries: sums split over threads round differently."""

import os

#: What such libraries read, each by itself, when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def use_one_thread() -> None:
    """Limit numerical libraries that are loaded from now on to one thread, with any setting."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
