"""Exact machine unlearning as a DVC pipeline.

The names of this package are loaded on first use, so that ``import unlearn`` is fast.
"""

from importlib import metadata

#: Name of the distribution that installs this package.
_DISTRIBUTION = "dvc-unlearn"

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Return the version, read from the installed distribution at its first use."""
    if name == "__version__":
        value = metadata.version(_DISTRIBUTION)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
