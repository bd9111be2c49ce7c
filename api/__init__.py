"""Exact machine unlearning as a DVC pipeline.

The names in `__all__` are the public interface; everything else in this package may change. Each is
loaded on first use, so that ``import unlearn`` is fast.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn.cli.audit import AuditAnswer
    from unlearn.cli.forget import ForgetAnswer
    from unlearn.cli.plan_answer import MethodsPlanAnswer, PlanAnswer
    from unlearn.cli.repro import ReproAnswer
    from unlearn.cli.verify_answer import VerifyAnswer as Report
    from unlearn.exact_models import (
        ExactBoostingClassifier,
        ExactForestClassifier,
        ExactLinearClassifier,
        ExactNaiveBayesClassifier,
    )
    from unlearn.exact_regressors import (
        ExactBoostingRegressor,
        ExactForestRegressor,
        ExactLinearRegressor,
    )
    from unlearn.project import Project
    from unlearn.stages.errors import BusyError, InputError, ToolError, UnlearnError
    from unlearn.stages.final_model.language_model import LanguageModel
    from unlearn.stages.final_model.loading import load_model
    from unlearn.stages.final_model.table_model import TableClassifier, TableRegressor
    from unlearn.stages.text.token_choice import Sampling

    __version__: str

#: Name of the distribution that installs this package.
_DISTRIBUTION = "dvc-unlearn"

#: Where each name is that is loaded on first use: the module, and its name there.
_PLACES = {
    "AuditAnswer": ("unlearn.cli.audit", "AuditAnswer"),
    "BusyError": ("unlearn.stages.errors", "BusyError"),
    "ExactBoostingClassifier": ("unlearn.exact_models", "ExactBoostingClassifier"),
    "ExactBoostingRegressor": ("unlearn.exact_regressors", "ExactBoostingRegressor"),
    "ExactForestClassifier": ("unlearn.exact_models", "ExactForestClassifier"),
    "ExactForestRegressor": ("unlearn.exact_regressors", "ExactForestRegressor"),
    "ExactLinearClassifier": ("unlearn.exact_models", "ExactLinearClassifier"),
    "ExactLinearRegressor": ("unlearn.exact_regressors", "ExactLinearRegressor"),
    "ExactNaiveBayesClassifier": ("unlearn.exact_models", "ExactNaiveBayesClassifier"),
    "ForgetAnswer": ("unlearn.cli.forget", "ForgetAnswer"),
    "InputError": ("unlearn.stages.errors", "InputError"),
    "LanguageModel": ("unlearn.stages.final_model.language_model", "LanguageModel"),
    "MethodsPlanAnswer": ("unlearn.cli.plan_answer", "MethodsPlanAnswer"),
    "PlanAnswer": ("unlearn.cli.plan_answer", "PlanAnswer"),
    "Project": ("unlearn.project", "Project"),
    "Report": ("unlearn.cli.verify_answer", "VerifyAnswer"),
    "ReproAnswer": ("unlearn.cli.repro", "ReproAnswer"),
    "Sampling": ("unlearn.stages.text.token_choice", "Sampling"),
    "TableClassifier": ("unlearn.stages.final_model.table_model", "TableClassifier"),
    "TableRegressor": ("unlearn.stages.final_model.table_model", "TableRegressor"),
    "ToolError": ("unlearn.stages.errors", "ToolError"),
    "UnlearnError": ("unlearn.stages.errors", "UnlearnError"),
    "load_model": ("unlearn.stages.final_model.loading", "load_model"),
}

__all__ = [
    "AuditAnswer",
    "BusyError",
    "ExactBoostingClassifier",
    "ExactBoostingRegressor",
    "ExactForestClassifier",
    "ExactForestRegressor",
    "ExactLinearClassifier",
    "ExactLinearRegressor",
    "ExactNaiveBayesClassifier",
    "ForgetAnswer",
    "InputError",
    "LanguageModel",
    "MethodsPlanAnswer",
    "PlanAnswer",
    "Project",
    "Report",
    "ReproAnswer",
    "Sampling",
    "TableClassifier",
    "TableRegressor",
    "ToolError",
    "UnlearnError",
    "__version__",
    "load_model",
]


def __getattr__(name: str) -> Any:
    """Return the version of the installed distribution, or load a name's module."""
    if name in _PLACES:
        module, original = _PLACES[name]
        return getattr(import_module(module), original)
    if name == "__version__":
        value = metadata.version(_DISTRIBUTION)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
