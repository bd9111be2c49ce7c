"""XGBoost's JSON models, read completely before the library sees them.

The format is that of `Booster.save_model` (https://xgboost.readthedocs.io/en/stable/tutorials/
saving_model.html). Read are models of the booster `gbtree` with one target.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.boosted.values import FLOAT32_MAX, Reader
from unlearn.stages.estimators.boosted.xgboost_trees import read_trees
from unlearn.stages.estimators.tensors import NamedTensor
from unlearn.stages.project.files import canonical_json

_SCALED = ("reg_loss_param", ("scale_pos_weight",))

#: Objectives, with the name of their parameters in a file and the parameters, all of them numbers.
OBJECTIVES: dict[str, tuple[str, tuple[str, ...]] | None] = {
    "binary:logistic": _SCALED,
    "multi:softprob": ("softmax_multiclass_param", ("num_class",)),
    "reg:squarederror": _SCALED,
    "reg:absoluteerror": None,
    "reg:pseudohubererror": ("pseudo_huber_param", ("huber_slope",)),
    "reg:quantileerror": ("quantile_loss_param", ("quantile_alpha",)),
    "reg:gamma": _SCALED,
    "reg:tweedie": ("tweedie_regression_param", ("tweedie_variance_power",)),
    "count:poisson": ("poisson_regression_param", ("max_delta_step",)),
}

#: How many classes a model of these objectives knows at least; any other predicts numbers.
_CLASSES = {"binary:logistic": 2, "multi:softprob": 3}

#: Major, minor and patch.
_VERSION_NUMBERS = 3

_read = Reader("XGBoost")


@dataclass(frozen=True)
class XGBoostFile:
    """What a file says.

    Parameters
    ----------
    content
        All of it, as JSON values.
    inputs
        Number of input columns.
    classes
        The pinned classes that the model knows, as their indices, in order; none if it predicts
        numbers.
    trees
        The lists of all trees, by name, one tree after the other.
    """

    content: dict[str, Any]
    inputs: int
    classes: tuple[int, ...]
    trees: dict[str, npt.NDArray[Any]]

    def dump(self) -> bytes:
        """Return the file as it is given to the library: nothing but what was read."""
        return canonical_json(self.content)

    def tensors(self) -> list[NamedTensor]:
        """Return all of it but the version of the library that wrote it."""
        learner = self.content["learner"]
        booster = learner["gradient_booster"]
        model = {name: value for name, value in booster["model"].items() if name != "trees"}
        rest = canonical_json({**learner, "gradient_booster": {**booster, "model": model}})
        return [
            NamedTensor("learner", "json", (len(rest),), rest),
            *(
                NamedTensor(name, values.dtype.str, values.shape, values.tobytes())
                for name, values in self.trees.items()
            ),
        ]


#: A file is read when it was made, and again for its digest.
@lru_cache(maxsize=1)
def read_file(content: bytes) -> XGBoostFile:
    """Return what a file says.

    Raises
    ------
    InputError
        If anything in it is not as XGBoost writes it.
    """
    whole = _read.fields(_read.json(content), ("learner", "version"), "the file")
    learner = _read.fields(
        whole["learner"],
        (
            "attributes",
            "feature_names",
            "feature_types",
            "gradient_booster",
            "learner_model_param",
            "objective",
        ),
        "learner",
    )
    types = _read.list(learner["feature_types"], "feature_types")
    for value in types:
        _read.choice(value, ("q", "c"), "a feature type")
    if learner["feature_names"] != []:
        _read.refuse("it names features")
    objective = _objective(learner["objective"])
    classes = _classes(learner["attributes"], objective)
    groups = len(classes) if objective == "multi:softprob" else 1
    _check_param(learner["learner_model_param"], len(types), groups)
    _check_objective(learner["objective"], objective, groups)
    trees = _trees(learner["gradient_booster"], types, groups)
    if len(_read.ints(whole["version"], "version")) != _VERSION_NUMBERS:
        _read.refuse("version is not three numbers")
    return XGBoostFile(whole, len(types), classes, trees)


def read_tensors(content: bytes) -> list[NamedTensor]:
    """Return the model in a file without the version of the library that wrote it."""
    return read_file(content).tensors()


def _objective(value: Any) -> str:
    if not isinstance(value, dict):
        _read.refuse("objective is not an object")
    return _read.choice(value.get("name"), OBJECTIVES, "the objective")


def _check_objective(value: Any, objective: str, groups: int) -> None:
    known = OBJECTIVES[objective]
    if known is None:
        _read.fields(value, ("name",), "objective")
        return
    name, names = known
    param = _read.fields(value, ("name", name), "objective")[name]
    for field, text in _read.fields(param, names, name).items():
        if field == "num_class":
            _read.decimal(text, field, least=groups, most=groups)
        elif field == "quantile_alpha":
            if (
                not isinstance(text, str)
                or len(_read.floats(_read.json(text.encode()), field)) != 1
            ):
                _read.refuse("quantile_alpha is not one number")
        else:
            _number(text, field)


def _classes(value: Any, objective: str) -> tuple[int, ...]:
    text = _read.fields(value, ("classes",), "attributes")["classes"]
    if not isinstance(text, str):
        _read.refuse("classes is not text")
    classes = _read.ints(_read.json(text.encode()), "classes")
    if (classes < 0).any() or (np.diff(classes) <= 0).any():
        _read.refuse("classes are not in order")
    least = _CLASSES.get(objective, 0)
    if len(classes) < least or (objective != "multi:softprob" and len(classes) > least):
        _read.refuse("the objective is not one for so many classes")
    return tuple(classes.tolist())


def _check_param(value: Any, inputs: int, groups: int) -> None:
    names = ("base_score", "boost_from_average", "num_class", "num_feature", "num_target")
    param = _read.fields(value, names, "learner_model_param")
    classes = groups if groups > 1 else 0
    _read.decimal(param["num_class"], "num_class", least=classes, most=classes)
    _read.decimal(param["num_feature"], "num_feature", least=inputs, most=inputs)
    _read.decimal(param["num_target"], "num_target", least=1, most=1)
    _read.choice(param["boost_from_average"], ("0", "1"), "boost_from_average")
    text = param["base_score"]
    if not isinstance(text, str):
        _read.refuse("base_score is not text")
    scores = _read.floats(_read.json(text.encode()), "base_score")
    if len(scores) != groups:
        _read.refuse("base_score has not one number for each class")


def _number(value: Any, where: str) -> None:
    """Check a number that is written as text."""
    try:
        found = float(value) if isinstance(value, str) and len(value) < 40 else math.nan  # noqa: PLR2004 - digits of a float
    except ValueError:
        found = math.nan
    if not abs(found) <= FLOAT32_MAX:
        _read.refuse(f"{where} is not a number")


def _trees(value: Any, types: list[str], groups: int) -> dict[str, npt.NDArray[Any]]:
    booster = _read.fields(value, ("model", "name"), "gradient_booster")
    _read.choice(booster["name"], ("gbtree",), "gradient_booster.name")
    names = ("cats", "gbtree_model_param", "iteration_indptr", "tree_info", "trees")
    model = _read.fields(booster["model"], names, "model")
    if model["cats"] != {"enc": [], "feature_segments": [], "sorted_idx": []}:
        _read.refuse("it has names of categories")
    trees = _read.list(model["trees"], "trees")
    param = _read.fields(
        model["gbtree_model_param"], ("num_parallel_tree", "num_trees"), "gbtree_model_param"
    )
    _read.decimal(param["num_trees"], "num_trees", least=len(trees), most=len(trees))
    at_once = _read.decimal(param["num_parallel_tree"], "num_parallel_tree", least=1)
    of_round = groups * at_once
    rounds, rest = divmod(len(trees), of_round)
    ends = _read.ints(model["iteration_indptr"], "iteration_indptr")
    if rest or not np.array_equal(ends, np.arange(rounds + 1) * of_round):
        _read.refuse("iteration_indptr does not match the trees")
    of_class = _read.ints(model["tree_info"], "tree_info")
    if not np.array_equal(of_class, np.tile(np.repeat(np.arange(groups), at_once), rounds)):
        _read.refuse("tree_info does not match the trees")
    return read_trees(trees, types) if trees else {}
