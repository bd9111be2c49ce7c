"""CatBoost's JSON models, read completely before the library sees them.

The format is that of `CatBoost.save_model(format="json")`, without its settings and times, which no
answer needs. `flat_feature_index` is the column that a feature is in. Read are models of symmetric
trees on numbers and categories.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from unlearn.stages.estimators.boosted.values import FloatArray, Reader
from unlearn.stages.estimators.tensors import NamedTensor
from unlearn.stages.project.files import canonical_json

#: What a file says is the loss of a model of numbers: its answers are in the units of the target,
#: whatever loss it was trained with.
_NUMBERS = "RMSE"

#: Statistics of categories, with how many counts they have of a category; None: one of each class.
_STATISTICS = {"Borders": None, "Counter": 1}

#: A symmetric tree of this depth has 65,536 leaves.
_MOST_LEVELS = 16

_FLOAT64_MAX = float(np.finfo(np.float64).max)
#: Categories are known by hashes below this.
_HASHES = 2**64

_read = Reader("CatBoost")


@dataclass(frozen=True)
class CatBoostFile:
    """What a file says.

    Parameters
    ----------
    content
        All of it, as JSON values.
    numbers, categories
        The columns of the features, in the order in which the library gets them.
    classes
        The pinned classes that the model knows, as their indices, in order; none if it predicts
        numbers.
    leaves
        Values and weights of the leaves of all trees, one tree after the other.
    """

    content: dict[str, Any]
    numbers: tuple[int, ...]
    categories: tuple[int, ...]
    classes: tuple[int, ...]
    leaves: dict[str, FloatArray]

    @property
    def inputs(self) -> int:
        """Number of input columns."""
        return len(self.numbers) + len(self.categories)

    def for_library(self) -> bytes:
        """Return the file as it is given to the library: nothing but what was read."""
        features = self.content["features_info"]
        kinds = ("float_features", "categorical_features")
        places = iter(range(self.inputs))
        own = {
            kind: [{**entry, "flat_feature_index": next(places)} for entry in features[kind]]
            for kind in kinds
        }
        rest = {name: value for name, value in self.content.items() if name != "model_info"}
        return canonical_json({**rest, "features_info": {**features, **own}})

    def tensors(self) -> list[NamedTensor]:
        """Return all of it but the version of the library that wrote it."""
        info = {**self.content["model_info"], "catboost_version_info": ""}
        splits = [tree["splits"] for tree in self.content["oblivious_trees"]]
        rest = canonical_json({**self.content, "model_info": info, "oblivious_trees": splits})
        return [
            NamedTensor("model", "json", (len(rest),), rest),
            *(
                NamedTensor(name, values.dtype.str, values.shape, values.tobytes())
                for name, values in self.leaves.items()
            ),
        ]


def of_library(
    content: bytes, numbers: list[int], categories: list[int], classes: list[int], version: str
) -> bytes:
    """Return the file of a model that the library wrote.

    Parameters
    ----------
    content
        What it wrote.
    numbers, categories, classes
        See `CatBoostFile`.
    version
        The version of the library.
    """
    value = json.loads(content)
    features = value["features_info"]
    for kind, places in (("float_features", numbers), ("categorical_features", categories)):
        features[kind] = [
            {**entry, "flat_feature_index": place}
            for entry, place in zip(features.get(kind, []), places, strict=True)
        ]
    of_classes = {
        "class_label_type": "Integer",
        "class_names": classes,
        "class_to_label": classes,
        "classes_count": 0,
    }
    info = {
        "catboost_version_info": version,
        "class_params": of_classes if classes else {},
        "params": {"loss_function": {"type": loss_of(len(classes)), "params": {}}},
    }
    kept = {name: features.get(name, []) for name in _FEATURES}
    trees = [{**tree, "splits": tree["splits"] or []} for tree in value["oblivious_trees"]]
    return canonical_json(
        {
            "ctr_data": value.get("ctr_data") or {},
            "features_info": kept,
            "model_info": info,
            "oblivious_trees": trees,
            "scale_and_bias": value["scale_and_bias"],
        }
    )


_FEATURES = ("categorical_features", "ctrs", "float_features")


#: A file is read when it was made, and again for its digest.
@lru_cache(maxsize=1)
def read_file(content: bytes) -> CatBoostFile:
    """Return what a file says.

    Raises
    ------
    InputError
        If anything in it is not as this module writes it.
    """
    names = ("ctr_data", "features_info", "model_info", "oblivious_trees", "scale_and_bias")
    whole = _read.fields(_read.json(content), names, "the file")
    classes = _classes(whole["model_info"])
    groups = len(classes) if len(classes) > 2 else 1  # noqa: PLR2004 - two have one logit
    info = _read.fields(whole["features_info"], _FEATURES, "features_info")
    bins: list[dict[str, Any]] = []
    numbers = _numbers(info["float_features"], bins)
    categories, categories_bins = _categories(info["categorical_features"])
    bins += categories_bins
    places = [*numbers, *categories]
    if sorted(places) != list(range(len(places))):
        _read.refuse("its features are not in the columns")
    sizes = (len(numbers), len(categories))
    # Of numbers there are counts below and above the middle.
    counted = len(classes) or 2
    identifiers = _statistics(info["ctrs"], sizes, counted, bins)
    _tables(whole["ctr_data"], identifiers, counted)
    leaves = _leaves(whole["oblivious_trees"], bins, groups)
    scale = _read.list(whole["scale_and_bias"], "scale_and_bias")
    if len(scale) != 2:  # noqa: PLR2004 - a scale, and a bias for each class
        _read.refuse("scale_and_bias is not a scale and a bias")
    _read.floats([scale[0]], "the scale", most=_FLOAT64_MAX)
    if len(_read.floats(scale[1], "the bias", most=_FLOAT64_MAX)) != groups:
        _read.refuse("the bias has not one number for each class")
    return CatBoostFile(whole, tuple(numbers), tuple(categories), classes, leaves)


def read_tensors(content: bytes) -> list[NamedTensor]:
    """Return the model in a file without the version of the library that wrote it."""
    return read_file(content).tensors()


def loss_of(classes: int) -> str:
    """Return the loss of a model that knows so many classes; 0 if it predicts numbers."""
    if not classes:
        return _NUMBERS
    return "Logloss" if classes == 2 else "MultiClass"  # noqa: PLR2004 - two have one logit


def _classes(value: Any) -> tuple[int, ...]:
    info = _read.fields(value, ("catboost_version_info", "class_params", "params"), "model_info")
    if not isinstance(info["catboost_version_info"], str):
        _read.refuse("the version is not text")
    classes: tuple[int, ...] = ()
    if info["class_params"] != {}:
        names = ("class_label_type", "class_names", "class_to_label", "classes_count")
        known = _read.fields(info["class_params"], names, "class_params")
        found = _read.ints(known["class_to_label"], "class_to_label")
        if (found < 0).any() or (np.diff(found) <= 0).any() or len(found) < 2:  # noqa: PLR2004 - two
            _read.refuse("classes are not in order")
        classes = tuple(found.tolist())
        if known["class_names"] != list(classes) or known["classes_count"] != 0:
            _read.refuse("the classes do not match")
        _read.choice(known["class_label_type"], ("Integer",), "class_label_type")
    loss = {"type": loss_of(len(classes)), "params": {}}
    if info["params"] != {"loss_function": loss}:
        _read.refuse("the loss is unknown, or is not one for so many classes")
    return classes


def _feature(value: Any, names: tuple[str, ...], number: int) -> dict[str, Any]:
    found = _read.fields(value, names, "a feature")
    _read.whole(found["feature_index"], "feature_index", least=number, most=number)
    if found["feature_id"] != "":
        _read.refuse("it names features")
    return found


def _borders(values: Any) -> list[float]:
    """Return rising ends of the parts of a number."""
    found = _read.floats(values, "borders")
    if (np.diff(found) <= 0).any():
        _read.refuse("borders do not rise")
    return list(found.tolist())


def _numbers(value: Any, bins: list[dict[str, Any]]) -> list[int]:
    """Return the columns of numbers; add what they can be split by to `bins`."""
    names = (
        "borders",
        "feature_id",
        "feature_index",
        "flat_feature_index",
        "has_nans",
        "nan_value_treatment",
    )
    places = []
    for number, entry in enumerate(_read.list(value, "float_features")):
        feature = _feature(entry, names, number)
        places.append(_read.whole(feature["flat_feature_index"], "flat_feature_index"))
        _read.choice(feature["nan_value_treatment"], ("AsIs", "AsFalse", "AsTrue"), "nan treatment")
        if not isinstance(feature["has_nans"], bool):
            _read.refuse("has_nans is neither true nor false")
        bins += [
            {"border": border, "float_feature_index": number, "split_type": "FloatFeature"}
            for border in _borders(feature["borders"])
        ]
    return places


def _categories(value: Any) -> tuple[list[int], list[dict[str, Any]]]:
    """Return the columns of categories, and the single categories to split by."""
    names = ("feature_id", "feature_index", "flat_feature_index")
    places, bins = [], []
    for number, entry in enumerate(_read.list(value, "categorical_features")):
        more = ("values",) if isinstance(entry, dict) and "values" in entry else ()
        feature = _feature(entry, (*names, *more), number)
        places.append(_read.whole(feature["flat_feature_index"], "flat_feature_index"))
        values = _read.ints(feature.get("values", []), "values").tolist()
        if len(set(values)) != len(values):
            _read.refuse("a category is there twice")
        bins += [
            {"cat_feature_index": number, "split_type": "OneHotFeature", "value": category}
            for category in values
        ]
    return places, bins


def _element(value: Any, sizes: tuple[int, int]) -> None:
    """Check a part of a combination of features."""
    kinds = {
        "cat_feature_value": ("cat_feature_index",),
        "cat_feature_exact_value": ("cat_feature_index", "value"),
        "float_feature": ("border", "float_feature_index"),
    }
    if not isinstance(value, dict):
        _read.refuse("a combination is of no features")
    kind = _read.choice(value.get("combination_element"), kinds, "combination_element")
    part = _read.fields(value, ("combination_element", *kinds[kind]), "a combination")
    for name, count in zip(("float_feature_index", "cat_feature_index"), sizes, strict=True):
        if name in part:
            _read.whole(part[name], name, most=count - 1)
    if "value" in part:
        _read.ints([part["value"]], "value")
    if "border" in part:
        _read.floats([part["border"]], "border")


def _statistics(
    value: Any, sizes: tuple[int, int], classes: int, bins: list[dict[str, Any]]
) -> dict[str, str]:
    """Return the kinds of statistics by their names; add what they can be split by to `bins`."""
    names = (
        "borders",
        "ctr_type",
        "elements",
        "identifier",
        "prior_denomerator",
        "prior_numerator",
        "scale",
        "shift",
        "target_border_idx",
    )
    found: dict[str, str] = {}
    for entry in _read.list(value, "ctrs"):
        ctr = _read.fields(entry, names, "a statistic")
        kind = _read.choice(ctr["ctr_type"], _STATISTICS, "ctr_type")
        elements = _read.list(ctr["elements"], "elements")
        if not 0 < len(elements) <= sum(sizes) + _MOST_LEVELS:
            _read.refuse("a combination is of too few or too many features")
        for element in elements:
            _element(element, sizes)
        identifier = ctr["identifier"]
        meant = {"identifier": elements, "type": kind}
        if not isinstance(identifier, str) or _read.json(identifier.encode()) != meant:
            _read.refuse("a statistic has the name of another one")
        most = classes - 2 if kind == "Borders" else 0
        target = _read.whole(ctr["target_border_idx"], "target_border_idx", most=most)
        numbers = [ctr[name] for name in ("prior_denomerator", "prior_numerator", "scale", "shift")]
        _read.floats(numbers, "a prior")
        found[identifier] = kind
        bins += [
            {"border": border, "ctr_target_border_idx": target, "split_type": "OnlineCtr"}
            for border in _borders(ctr["borders"])
        ]
    return found


def _tables(value: Any, identifiers: dict[str, str], classes: int) -> None:
    """Check the counts that statistics are computed from."""
    tables = _read.fields(value, identifiers, "ctr_data")
    for identifier, kind in identifiers.items():
        table = _read.fields(
            tables[identifier], ("counter_denominator", "hash_map", "hash_stride"), "a table"
        )
        _read.whole(table["counter_denominator"], "counter_denominator")
        counts = _STATISTICS[kind] or classes
        stride = _read.whole(table["hash_stride"], "hash_stride", least=counts + 1, most=counts + 1)
        values = _read.list(table["hash_map"], "hash_map")
        if not values or len(values) % stride:
            _read.refuse("hash_map is not one of so many counts")
        hashes = values[::stride]
        if len(set(map(str, hashes))) != len(hashes):
            _read.refuse("hash_map has a category twice")
        for text in hashes:
            # Twenty digits hold 2^64.
            if not (isinstance(text, str) and text.isascii() and text.isdecimal()):
                _read.refuse("hash_map has a category that is no number")
            if len(text) > 20 or int(text) >= _HASHES or str(int(text)) != text:  # noqa: PLR2004
                _read.refuse("hash_map has a category that is no number of 64 bits")
        numbers = [value for at, value in enumerate(values) if at % stride]
        if (_read.ints(numbers, "hash_map") < 0).any():
            _read.refuse("hash_map has a count below 0")


def _leaves(value: Any, bins: list[dict[str, Any]], groups: int) -> dict[str, FloatArray]:
    """Return values and weights of all leaves, if the splits are on what there is."""
    found: dict[str, list[FloatArray]] = {"leaf_values": [], "leaf_weights": []}
    trees = _read.list(value, "oblivious_trees")
    if not trees:
        _read.refuse("it has no trees")
    for entry in trees:
        tree = _read.fields(entry, ("leaf_values", "leaf_weights", "splits"), "a tree")
        splits = _read.list(tree["splits"], "splits")
        if len(splits) > _MOST_LEVELS:
            _read.refuse("a tree has too many levels")
        leaves = 2 ** len(splits)
        for name, count in (("leaf_values", leaves * groups), ("leaf_weights", leaves)):
            numbers = _read.floats(tree[name], name, most=_FLOAT64_MAX)
            if len(numbers) != count:
                _read.refuse("the leaves of a tree do not match")
            found[name].append(numbers)
        for split in splits:
            if not isinstance(split, dict):
                _read.refuse("a split is not an object")
            at = _read.whole(split.get("split_index"), "split_index", most=len(bins) - 1)
            if {**bins[at], "split_index": at} != split:
                _read.refuse("a split is on no feature")
    return {name: np.concatenate(numbers) for name, numbers in found.items()}
