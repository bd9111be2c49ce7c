"""What is compiled before workers start is what pytest would have made."""

import gc
import sys
import types
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

from tests.compiled import is_rewritten, rewritten, write_rewritten


def test_pytest_finds_the_rewritten_test_until_it_is_changed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "test_one.py"
    path.write_text("def test_one():\n    assert 1 == 2, 'zq'\n", encoding="ascii")

    write_rewritten(path, request.config)

    found = rewrite._read_pyc(path, rewritten(path))  # noqa: SLF001
    assert isinstance(found, types.CodeType)
    assert found == rewrite._rewrite_test(path, request.config)[1]  # noqa: SLF001
    path.write_text("def test_one():\n    assert 1 == 1, 'zq'\n", encoding="ascii")
    assert rewrite._read_pyc(path, rewritten(path)) is None  # noqa: SLF001


@pytest.mark.parametrize("text", ["def test_one(:\n", "a = 1\0\n"])
def test_what_is_no_python_is_left_to_pytest(
    tmp_path: Path, request: pytest.FixtureRequest, text: str
) -> None:
    path = tmp_path / "test_one.py"
    path.write_text(text, encoding="ascii")

    write_rewritten(path, request.config)

    assert not rewritten(path).exists()


def test_the_collector_of_garbage_leaves_modules_out() -> None:
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(sys.modules)


def test_helpers_are_compiled_as_they_are() -> None:
    names = ("conftest.py", "test_compiled.py", "compiled.py")
    assert [is_rewritten(Path(name)) for name in names] == [True, True, False]
