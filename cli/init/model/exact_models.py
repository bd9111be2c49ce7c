"""Models of sets of rows in a new project: when `init` proposes one, and what it pins."""

from collections.abc import Mapping
from typing import Any

from unlearn.cli.init.dataset.ranges import PROVISIONAL, columns_with_ranges
from unlearn.cli.init.model.array_models import model_of_arrays
from unlearn.cli.init.request.request import InitRequest
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.row_sets.forest_share import default_share
from unlearn.stages.estimators.spec import RowSetTraining

NETWORK = "mlp"

#: Models of sets of rows, as `--example visits --model` takes them.
EXACT_MODELS = ("exact_forest", "exact_boosting", "exact_linear", "exact_naive_bayes")

#: Options of `exact_boosting` for a regression. Its defaults suit classes: here values of leaves
#: are finer, and those of few rows smaller (`benchmarks/exact_regression.py`).
BOOSTING_OF_NUMBERS: Mapping[str, Any] = {"depth": 6, "smoothing": 10.0, "steps": 32}

#: From so many columns, if all are numbers, they are taken for an embedding. A forest looks at few
#: of them at a time, and a linear model at all.
_WIDE = 256


def is_of_sets(model: str) -> bool:
    """Return whether a request changes models of this kind, so that they need no shards."""
    return isinstance(find_spec(model).training, RowSetTraining)


def choose_model(
    request: InitRequest,
    features: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[str, str | None]:
    """Return the model of a table, and why it is this one; no reason where the user chose.

    Shards, slices and epochs are of networks, and so is the post-hoc template: who asks for one of
    them gets a network.

    Parameters
    ----------
    request
        What the user asks for.
    features
        Kind by feature.
    shapes
        The shape of each feature that is an array.

    Raises
    ------
    InputError
        If no built-in model reads these features, or the chosen one reads no arrays.
    """
    if shapes:
        return model_of_arrays(request, features, shapes)
    if request.model is not None:
        return request.model, None
    asked = (request.shards, request.slices, request.epochs)
    if request.is_posthoc or any(value is not None for value in asked):
        return NETWORK, None
    is_wide = len(features) >= _WIDE and set(features.values()) == {"numeric"}
    model = "exact_linear" if is_wide else "exact_forest"
    return model, (
        f"model {model}, without shards: a request changes it, which takes a small share of a "
        f"training (--model {NETWORK} is a network with shards)"
    )


def first_options(
    model: str, features: Mapping[str, str], rows: int, classes: int
) -> dict[str, Any]:
    """Return options to pin for a model, with ends of grids until the rows have been read.

    Parameters
    ----------
    model, features
        The model, and kind by feature.
    rows, classes
        About how many rows a model is trained on, and how many classes there are; 0 for a
        regression.
    """
    if not is_of_sets(model):
        return {}
    found: dict[str, Any] = {}
    if numbers := columns_with_ranges(model, features):
        found["range"] = {name: list(PROVISIONAL) for name in numbers}
    if model == "exact_forest":
        found["share"] = default_share(rows, classes)
    if model == "exact_boosting" and classes == 0:
        found |= BOOSTING_OF_NUMBERS
    return found
