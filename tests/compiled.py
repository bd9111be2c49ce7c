"""The bytecode of tests and of the package, made once before workers of pytest start.

On a clean clone every worker would rewrite the assertions of all tests, and every process of a
test would compile the modules that it imports. Where PYTHONDONTWRITEBYTECODE is set, none of them
would keep what it made.
"""

import compileall
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import unlearn
from _pytest.assertion import rewrite
from _pytest.config import Config

_HERE = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_configure(config: Config) -> None:
    """Make the bytecode that is missing, where workers are about to start."""
    starts_workers = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if starts_workers and config.getoption("assertmode") == "rewrite":
        make_bytecode(config, _HERE)


def make_bytecode(config: Config, tests: Path) -> None:
    """Write the bytecode of tests, of their helpers, and of the installed package.

    Parameters
    ----------
    config
        Of this session of pytest.
    tests
        The folder of tests.
    """

    # Plugins are rewritten too, and so are the libraries that they come with.
    hook = config.stash[rewrite.assertstate_key].hook
    assert hook is not None
    plugins = set(hook._rewritten_names.values())  # noqa: SLF001

    def make(part: int) -> None:
        for path in files[part::parts]:
            if is_rewritten(path) or path in plugins:
                write_rewritten(path, config)
            else:
                compileall.compile_file(path, quiet=2)

    files = sorted({*tests.rglob("*.py"), *plugins, *_package()})
    parts = os.cpu_count() or 1
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=make, args=(part,)) for part in range(parts)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def is_rewritten(path: Path) -> bool:
    """Tell whether pytest rewrites the assertions of a file."""
    return path.name == "conftest.py" or path.name.startswith("test_")


def rewritten(path: Path) -> Path:
    """Return the file where pytest looks for the rewritten bytecode of a test."""
    return rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"


def _package() -> Iterator[Path]:
    for folder in unlearn.__path__:
        yield from Path(folder).rglob("*.py")


def write_rewritten(path: Path, config: Config) -> None:
    """Write the bytecode of a test whose assertions pytest rewrites, if it is missing or old.

    A test that is no Python has none: pytest says so when it collects it.
    """
    target = rewritten(path)
    # A checkout that cannot be written to has no bytecode of its own.
    if rewrite._read_pyc(path, target) is None and rewrite.try_makedirs(target.parent):  # noqa: SLF001
        try:
            source_hash, code = rewrite._rewrite_test(path, config)  # noqa: SLF001
        except (SyntaxError, ValueError):  # the latter of null bytes
            return
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source_hash, target)  # noqa: SLF001
