"""Weights of classes, which people write by label and estimators read by index."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from unlearn.stages.errors import InputError


def with_indices(model: Any, labels: Sequence[str]) -> Any:
    """Return an unfitted estimator whose weights of classes, at any depth, are by class index.

    Parameters
    ----------
    model
        The estimator; its parameters are changed.
    labels
        The pinned classes; without any, nothing is changed.

    Raises
    ------
    InputError
        If a weight is of no pinned class.
    """
    if not labels:
        return model
    found = {
        name: by_index(value, labels)
        for name, value in model.get_params(deep=True).items()
        if name.rpartition("__")[2] == "class_weight" and isinstance(value, Mapping)
    }
    return model.set_params(**found)


def by_index(
    weights: Mapping[Any, Any], labels: Sequence[str], section: str = "train.options"
) -> dict[int, Any]:
    """Return weights by class index.

    Projects from before weights by label have indices, which stay, unless they are labels. An
    error names the section of params.yaml.

    Examples
    --------
    >>> by_index({"no": 1.0, "yes": 4.0}, ["no", "yes"])
    {0: 1.0, 1: 4.0}
    >>> by_index({1: 4.0}, ["no", "yes"])
    {1: 4.0}
    >>> by_index({1: 4.0}, ["1", "2"])
    {0: 4.0}
    """
    index = {label: number for number, label in enumerate(labels)}
    unknown = [key for key in weights if str(key) not in index]
    if not unknown:
        return {index[str(key)]: value for key, value in weights.items()}
    if all(type(key) is int and 0 <= key < len(labels) for key in weights):
        return dict(weights)
    if any(isinstance(key, bool) for key in unknown):
        hint = "YAML reads yes, no, true and false as truth values: write the labels in quotes"
    else:
        near = difflib.get_close_matches(str(unknown[0]), labels, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "its keys are classes in schema.yaml"
    raise InputError(f"{section}: class_weight has {unknown[0]!r}, which is no class", hint)
