"""How long a piece of work takes: by the clock, and in processor time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Stopwatch:
    """Adds up what pieces of work take.

    Attributes
    ----------
    seconds
        By the clock.
    processor_seconds
        Of all threads of this process, which a busy machine does not make longer.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure what is done within."""
        started, by_processor = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started
            self.processor_seconds += time.process_time() - by_processor
