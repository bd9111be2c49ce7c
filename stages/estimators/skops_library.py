"""skops, imported without torch.

skops asks scikit-learn for the list of its estimators, and so imports all of its packages. One of
them is for arrays of torch, which takes as long to import as all the others. Where nothing else has
imported torch, it is not to be found meanwhile: scikit-learn works without it.
"""

import importlib
import sys
from importlib.abc import MetaPathFinder
from threading import get_ident
from types import ModuleType


class _NoTorch(MetaPathFinder):
    """Finds no torch in the thread that made it."""

    def __init__(self) -> None:
        self._thread = get_ident()

    def find_spec(self, name: str, *_where: object) -> None:
        """Refuse torch; leave all else to the other finders."""
        if name == "torch" and get_ident() == self._thread:
            raise ModuleNotFoundError("not needed for models of scikit-learn", name=name)


def _import_skops() -> ModuleType:
    finder = _NoTorch()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("skops.io")
    finally:
        sys.meta_path.remove(finder)


#: `skops.io`.
skops_io = _import_skops()
