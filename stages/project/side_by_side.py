"""Work on many items in two threads, with results in the items' order.

Arrow, NumPy and hashing let another thread run while they work. A second process would have to
start, which takes longer than most datasets, and to be sent every row.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")

#: More threads would have more items in memory.
_MOST_THREADS = 2


def thread_count() -> int:
    """Return how many threads work side by side: two where there are two processors."""
    return min(_MOST_THREADS, os.cpu_count() or 1)


def results_in_order(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Yield what a function returns for each item, in the order of the items.

    Parameters
    ----------
    function
        Must not depend on which other items it was called for, or when.
    items
        One more than there are threads is taken from them at a time.

    Raises
    ------
    Exception
        The one that a loop over the items would have met first: of the function, or of `items`.
    """
    with ThreadPoolExecutor(thread_count()) as pool:
        begun: deque[Future[T]] = deque()
        failure: Exception | None = None
        remaining = iter(items)
        while failure is None:
            try:
                item = next(remaining)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below, after those of earlier items
                failure = error
                break
            begun.append(pool.submit(function, item))
            del item
            if len(begun) > thread_count():
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
        if failure is not None:
            raise failure
