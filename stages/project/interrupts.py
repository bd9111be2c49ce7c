"""Processes that Ctrl-C does not reach."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Let processes that are started here not see Ctrl-C: who asks them decides when they end.

    They inherit that it is held back. In this process it is held back as well, and comes after the
    block: to ignore it would lose it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
