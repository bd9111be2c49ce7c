"""The packages that an estimator of one's own is made of, and the types that its file may hold."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions, version
from types import FunctionType, ModuleType

from unlearn.stages.config.train import SKLEARN_INTERFACE, TrainParams
from unlearn.stages.errors import InputError

#: Packages whose versions are facts of every environment, or of all of scikit-learn's.
_KNOWN = frozenset({"builtins", "numpy", "sklearn"})


#: What pipelines of scikit-learn alone hold: it describes values, checks arrays, or has parameters
#: for a function that has to be trusted by itself.
_HARMLESS = frozenset({"functools.partial", "numpy.dtype", "sklearn.utils.validation.check_array"})

#: Packages whose functions only compute: they choose features, or score answers.
_COMPUTING = ("sklearn.feature_selection.", "sklearn.metrics.")


def package_versions(train: TrainParams) -> dict[str, str]:
    """Return the versions of the packages of all trusted types, and of pandas if it is used.

    Parameters
    ----------
    train
        The settings.
    """
    packages = {name.partition(".")[0] for name in train.trusted_types}
    if train.code_path is None:
        packages.add(train.model.removeprefix(SKLEARN_INTERFACE).partition(".")[0])
    if train.raw:
        packages.add("pandas")
    facts: dict[str, str] = {}
    for package in sorted(packages - _KNOWN):
        for distribution in sorted(set(_installed().get(package, ()))):
            facts[distribution] = version(distribution)
    return facts


@cache
def _installed() -> Mapping[str, list[str]]:
    """Return the distributions of each package; to find them takes half a second."""
    return packages_distributions()


class UntrustedTypesError(InputError):
    """An estimator's file holds types that `train.trusted_types` does not name.

    Parameters
    ----------
    name
        What builds the estimator.
    types
        The types, by full name.
    """

    def __init__(self, name: str, types: list[str]) -> None:
        self.types = types
        listed = ", ".join(types)
        noun = "the type" if len(types) == 1 else "the types"
        super().__init__(
            f"{name} needs {noun} {listed}, which train.trusted_types does not name",
            f"if you trust what they do when a model is loaded, set trusted_types: [{listed}] in "
            "params.yaml",
        )


def is_trusted(train: TrainParams, module: ModuleType | None) -> Callable[[str], bool]:
    """Return what tells for a type's full name whether a model file may hold it.

    It may hold what `train.trusted_types` names, what the user's own file defines, which runs in
    any case, and functions of scikit-learn that choose features or score answers. What the user's
    file only imports is of another package.

    Parameters
    ----------
    train
        The settings.
    module
        The user's own file, if there is one.
    """
    named = _HARMLESS.union(train.trusted_types)

    def tell(name: str) -> bool:
        return (
            name in named
            or (name.startswith(_COMPUTING) and _is_function(name))
            or (module is not None and _is_of(module, name))
        )

    return tell


def _is_function(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    found = getattr(import_module(module), attribute, None)
    # scikit-learn wraps its functions to check their parameters; these keep their module.
    return isinstance(found, FunctionType) and f"{found.__module__}.".startswith(_COMPUTING)


def _is_of(module: ModuleType, name: str) -> bool:
    prefix = f"{module.__name__}."
    if not name.startswith(prefix):
        return False
    # A method is named with its class.
    found = vars(module).get(name.removeprefix(prefix).partition(".")[0])
    return isinstance(found, type | FunctionType) and found.__module__ == module.__name__
