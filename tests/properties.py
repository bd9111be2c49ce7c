"""Properties that are tried on few examples by `make test`, and on many by `.ci/run`."""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.detection import is_hypothesis_test

#: The environment variable that `.ci/run` sets to 1 when it runs the tests marked `property`.
MANY = "UNLEARN_TESTS_MANY_EXAMPLES"

Test = TypeVar("Test", bound=Callable[..., Any])

#: How many examples a property without a number of its own is tried on; see `MANY`.
USUAL = 100 if os.environ.get(MANY) == "1" else 40


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark properties that are tried on the usual number of examples."""
    for item in items:
        test = getattr(item, "obj", None)
        if is_hypothesis_test(test):
            # Absent where a test has no settings of its own, and takes those of the profile.
            own = getattr(test, "_hypothesis_internal_use_settings", None)
            if own is None or own.max_examples == USUAL:
                item.add_marker(pytest.mark.property)


def tried_on(*, few: int, many: int) -> Callable[[Test], Test]:
    """Decorate a test of hypothesis that is dear: it is tried on `few` examples, or on `many`.

    Its fixtures may be those of a single test: what an example changes is a copy of its own.

    Parameters
    ----------
    few
        How many examples `make test` draws, besides the explicit ones.
    many
        How many examples `.ci/run` draws.
    """
    budget = settings(
        max_examples=many if os.environ.get(MANY) == "1" else few,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )

    def decorate(test: Test) -> Test:
        marked: Test = pytest.mark.property(budget(test))
        return marked

    return decorate
