"""A stage of a pipeline that trains with torch imports nothing that it has no need of."""

import pytest

from tests.cli.test_lazy import HEAVY, loaded
from tests.conftest import Repo

#: Arrow loads pandas to look at a Python list; attacks take functions of scipy.special.
ABSENT = {
    "train@s000": HEAVY - {"pandas", "torch"},
    "aggregate": HEAVY - {"pandas"},
    "verify": {"sklearn", "skops", "scipy.stats", "transformers", "peft"},
}


@pytest.mark.parametrize("stage", ABSENT)
def test_a_stage_imports_what_it_needs(mlp: Repo, stage: str) -> None:
    ((code, modules),) = loaded([["stage", stage]], mlp.root)

    assert code == 0
    assert not modules & ABSENT[stage]
