"""Exact machine unlearning as a DVC pipeline.

The names of this package are loaded on first use, so that ``import unlearn`` is fast.
"""

from importlib import import_module, metadata
from typing import Any

#: Name of the distribution that installs this package.
_DISTRIBUTION = "dvc-unlearn"

#: Module of each name that is loaded on first use.
_MODULES = (
    dict.fromkeys(
        (
            "ExactBoostingClassifier",
            "ExactForestClassifier",
            "ExactLinearClassifier",
            "ExactNaiveBayesClassifier",
        ),
        "unlearn.exact_models",
    )
    | dict.fromkeys(
        ("ExactBoostingRegressor", "ExactForestRegressor", "ExactLinearRegressor"),
        "unlearn.exact_regressors",
    )
    | dict.fromkeys(("TableClassifier", "TableRegressor"), "unlearn.stages.final_model.table_model")
    | {"LanguageModel": "unlearn.stages.final_model.language_model"}
    | {"load_model": "unlearn.stages.final_model.loading"}
    | {"Sampling": "unlearn.stages.text.token_choice"}
)

__all__ = [
    "ExactBoostingClassifier",
    "ExactBoostingRegressor",
    "ExactForestClassifier",
    "ExactForestRegressor",
    "ExactLinearClassifier",
    "ExactLinearRegressor",
    "ExactNaiveBayesClassifier",
    "LanguageModel",
    "Sampling",
    "TableClassifier",
    "TableRegressor",
    "__version__",
    "load_model",
]


def __getattr__(name: str) -> Any:
    """Return the version of the installed distribution, or load a name's module."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "__version__":
        value = metadata.version(_DISTRIBUTION)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
