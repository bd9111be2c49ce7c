"""What the mutation run mutates, and the tests that have to notice, are there."""

from pathlib import Path

import pytest

from benchmarks.mutation import MODULES

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", MODULES)
def test_the_module_and_its_tests_exist(name: str) -> None:
    module, tests = MODULES[name]

    assert Path(module).stem == name
    assert [path for path in (module, *tests) if not (ROOT / path).is_file()] == []
