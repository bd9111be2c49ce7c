"""Keeps pyarrow from importing pandas, which nothing here needs and which takes long.

pyarrow looks for pandas at its first conversion, once: without it, it converts as well, but does
not know a pandas Series. So as soon as anything else imports pandas, pyarrow looks for it again.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import pyarrow as pa


def keep_pandas_out() -> None:
    """Let pyarrow convert without pandas until something else imports pandas.

    It is for processes of this tool's commands, not for processes that import this tool.
    """
    if "pandas" in sys.modules:
        return
    finder = _Pandas()
    sys.meta_path.insert(0, finder)
    pa.array([0]).to_numpy()
    finder.is_hidden = False


class _Pandas(MetaPathFinder):
    """Hides pandas, and then tells pyarrow when it is imported."""

    is_hidden = True

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to import pandas; None for every other module."""
        if name != "pandas":
            return None
        if self.is_hidden:
            raise ModuleNotFoundError(name)
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_tell(module: ModuleType) -> None:
            load(module)
            # A conversion to pandas is what makes pyarrow look for it again.
            pa.array([0]).to_pandas()

        spec.loader.exec_module = load_and_tell  # type: ignore[method-assign]  # of this one object
        return spec
