"""Gradient boosting that is a function of the key and the set of its rows.

Source: Friedman, "Greedy function approximation: a gradient boosting machine", Annals of
Statistics 2001, with second derivatives as in Chen and Guestrin, "XGBoost", KDD 2016, and one split
for all nodes of a level as in Prokhorenkova et al., "CatBoost", NeurIPS 2018. Here candidate splits
follow from the key alone, and sums of gradients are integers. Forgetting a row subtracts it from
them; trees are grown again only where a chosen split or a rounded value is another then. With more
than two classes there is one model for each class against the others. Numbers have one model, with
the squared error as its loss.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.row_sets.base import (
    STATE_FILE,
    Files,
    Shape,
    Tensor,
    load_tensors,
    save_tensors,
)
from unlearn.stages.estimators.row_sets.boosting_class import ClassModel
from unlearn.stages.estimators.row_sets.boosting_columns import Columns, labels_of
from unlearn.stages.estimators.row_sets.boosting_draws import BoostingDraws, Splits
from unlearn.stages.estimators.row_sets.boosting_loss import LogisticLoss, SquaredLoss
from unlearn.stages.estimators.row_sets.boosting_model import MODEL_KINDS, BoostingModel
from unlearn.stages.estimators.row_sets.boosting_state import (
    BoostingState,
    ClassRows,
    ClassState,
)
from unlearn.stages.estimators.row_sets.boosting_sums import (
    OF_CLASSES,
    OF_NUMBERS,
    Integers,
    check_rows,
    purity,
)
from unlearn.stages.estimators.row_sets.row_set import (
    Bytes,
    Codes,
    RowSet,
    check_split,
    check_union,
    set_nonce,
)
from unlearn.stages.rows.tokens import Key

#: Arrays of a class in a state.
_STATE_KINDS = {
    "counts": ("int64", 1),
    "choices": ("uint16", 2),
    "left": ("int64", 3),
    "roots": ("int64", 1),
    "guide_sums": ("int64", 2),
    "leaf_sums": ("int64", 2),
}

_CODES_FILE = "codes.safetensors"

_TWO = 2


@dataclass(frozen=True)
class BoostingCosts:
    """When to change a state, and when to fit again; the result is the same.

    Parameters
    ----------
    refit_from
        From this share of the rows on, fitting is not slower than changing the state.
    always_change
        So many rows are never too many: even where nearly all trees are fitted again, this is not
        slower than fitting.
    """

    refit_from: float = 0.0005
    always_change: int = 4


class ExactBoosting:
    """`RowSetEstimator` of boosting models.

    Parameters
    ----------
    key
        The project key.
    shape
        What rows look like.
    options
        The settings.
    costs
        When to change a state instead of fitting.
    """

    def __init__(
        self,
        key: Key,
        shape: Shape,
        options: ExactBoostingOptions,
        costs: BoostingCosts = BoostingCosts(),
    ) -> None:
        self._key, self._shape, self._options, self._costs = key, shape, options, costs
        self._draws = BoostingDraws(key, shape, options)
        self._numbers = shape.target is not None
        numbers = range(shape.classes) if shape.classes > _TWO else range(1, shape.classes)
        loss = SquaredLoss if self._numbers else LogisticLoss
        self._models = {
            number: ClassModel(self._draws, options, number, loss)
            for number in (range(1) if self._numbers else numbers)
        }

    def fit(self, rows: RowSet) -> BoostingState:
        """Fit the model of each class."""
        check_rows(len(rows))
        counts, cuts = self._cuts_of(rows)
        columns = self._columns(cuts, rows)
        classes = [model.fit(columns.of_class(number)) for number, model in self._models.items()]
        return BoostingState(rows.digests, counts, cuts, classes)

    @property
    def tree_count(self) -> int:
        """Number of trees; with more than two classes, one of these is a tree of each class."""
        return self._options.trees

    def tree_bytes(self, state: BoostingState, tree: int) -> bytes:
        """Return the splits and sums of a tree."""
        parts = zip(self._models.items(), state.classes, strict=True)
        found = {number: model.tree(own, tree) for (number, model), own in parts}
        return _tree_bytes(found, state.code_counts)

    def counts_rows(self, state: BoostingState, rows: RowSet) -> bool:
        """Compare the rows of each class, all of which are in every tree; or the sum of numbers."""
        models = zip(self._models.items(), state.classes, strict=True)
        return all(
            np.array_equal(
                own.counts, model.loss.count(labels_of(rows, number, numbers=self._numbers))
            )
            for (number, model), own in models
        )

    def refit_trees(
        self, state: BoostingState, rows: RowSet, trees: Sequence[int]
    ) -> Iterator[tuple[int, bytes]]:
        """Fit trees again, each given the trees before it."""
        check_rows(len(rows))
        counts, cuts = self._cuts_of(rows)
        columns = self._columns(cuts, rows)
        parts = zip(self._models.items(), state.classes, strict=True)
        found = {
            number: list(model.refit(own, columns.of_class(number), trees))
            for (number, model), own in parts
        }
        for at, tree in enumerate(trees):
            yield tree, _tree_bytes({number: own[at] for number, own in found.items()}, counts)

    def forget(self, state: BoostingState, gone: RowSet, left: RowSet) -> BoostingState:
        """Subtract rows from all sums, and choose again what is no longer the best."""
        check_split(state.digests, gone, left)
        return self._changed(state, gone, left, -1)

    def add(self, state: BoostingState, new: RowSet, union: RowSet) -> BoostingState:
        """Add rows to all sums, and choose again what is no longer the best."""
        check_union(state.digests, new, union)
        return self._changed(state, new, union, 1)

    def rows_to_read(self, state: BoostingState, moved: RowSet, rows: RowSet, sign: int) -> int:
        """Return what `reads` will be if rows come (1) or go (-1); the state stays as it is.

        What moves depends on what moved before, so a copy of the state is changed.
        """
        return self._changed(copy.deepcopy(state), moved, rows, sign).reads

    def refits(self, moved: int, rows: int) -> bool:
        """Return whether fitting is not slower than changing the state."""
        return moved > self._costs.always_change and moved >= self._costs.refit_from * rows

    def row_digests(self, state: BoostingState) -> Bytes:
        """Return the digests of the rows that the sums are over."""
        return state.digests

    def save(self, state: BoostingState) -> Files:
        """Return a file for each class, one for the digests, and one for the codes."""
        files = {
            _class_file(number): save_tensors(
                {
                    "counts": own.counts,
                    "choices": own.structure.choices.astype(np.uint16),
                    "left": own.structure.left,
                    "roots": own.roots,
                    "guide_sums": own.guide_sums,
                    "leaf_sums": own.leaf_sums,
                }
            )
            for number, own in zip(self._models, state.classes, strict=True)
        }
        files[_CODES_FILE] = save_tensors({"counts": state.code_counts.astype(np.uint32)})
        return {STATE_FILE: save_tensors({"digests": state.digests}), **files}

    def load(self, files: Files) -> BoostingState:
        """Return the state that `save` wrote."""
        found = load_tensors(files.get(STATE_FILE), {"digests": ("uint8", 2)})
        digests = found["digests"].astype(np.uint8)
        found = load_tensors(files.get(_CODES_FILE), {"counts": ("uint32", 2)})
        counts = found["counts"].astype(np.int64)
        if counts.shape != self._draws.common.shape:
            raise InputError("a file of an exact boosting model belongs to another model")
        cuts = self._draws.cuts(self._draws.common.among(counts, len(digests)))
        classes = [
            _restored(model, load_tensors(files.get(_class_file(number)), _STATE_KINDS))
            for number, model in self._models.items()
        ]
        return BoostingState(digests, counts, cuts, classes)

    def model(self, state: BoostingState) -> bytes:
        """Return splits, values of leaves and importances."""
        options, count = self._options, len(state.classes)
        splits = [self._draws.candidates.chosen(own.structure.choices) for own in state.classes]
        places = (count, options.trees, options.depth)

        def joined(parts: list[npt.NDArray[np.generic]], kind: str) -> Tensor:
            return np.array(parts).reshape(places).astype(kind)

        leaves = 2**options.depth
        values = np.array([own.leaf_values for own in state.classes], np.int16)
        starts = [
            model.loss.start(own.counts)
            for model, own in zip(self._models.values(), state.classes, strict=True)
        ]
        return save_tensors(
            {
                "nonce": set_nonce(self._key, state.digests),
                "cuts": state.cuts,
                "cuts_of_trees": self._draws.cuts_of_trees.astype(np.int64),
                "features": joined([own.features for own in splits], "uint16"),
                "factors": joined([own.factors for own in splits], "uint8"),
                "shifts": joined([own.shifts for own in splits], "uint8"),
                "widths": joined([own.widths for own in splits], "uint8"),
                "starts": np.array(starts, np.int64),
                "values": values.reshape(count, options.trees, leaves),
                "importances": self._decreases(state),
            }
        )

    def predictor(self, model: bytes) -> BoostingModel:
        """Return the model, ready to answer."""
        found = load_tensors(model, MODEL_KINDS)
        features = found["features"].astype(np.intp)
        parts = (found["factors"], found["shifts"], found["widths"])
        factors, shifts, widths = (part.astype(np.uint8) for part in parts)
        places = (len(self._models), self._options.trees, self._options.depth)
        values, decreases = found["values"].astype(np.int16), found["importances"].astype(np.int64)
        starts = found["starts"].astype(np.int64)
        is_good = (
            all(part.shape == places for part in (features, *parts))
            and values.shape == (*places[:2], 2 ** places[2])
            and starts.shape == places[:1]
            and found["cuts"].shape == self._draws.shape_of_cuts
            and np.array_equal(found["cuts_of_trees"], self._draws.cuts_of_trees)
            and len(decreases) == self._shape.features
            and int(features.max(initial=0)) < self._shape.features
        )
        if not is_good:
            raise InputError("a file of an exact boosting model belongs to another model")
        splits = [
            Splits(features[at], factors[at], shifts[at], widths[at]) for at in range(places[0])
        ]
        return BoostingModel(
            self._shape,
            self._options.steps,
            found["cuts"].astype(np.uint16),
            found["cuts_of_trees"].astype(np.int64),
            splits,
            starts,
            values,
            decreases,
        )

    def _columns(self, cuts: Codes, rows: RowSet) -> Columns:
        return Columns(self._draws, cuts, rows, numbers=self._numbers)

    def _cuts_of(self, rows: RowSet) -> tuple[Integers, Codes]:
        """Return how many rows have each code, and the cuts that follow."""
        counts = self._draws.common.count(rows.codes)
        return counts, self._draws.cuts(self._draws.common.among(counts, len(rows)))

    def _changed(
        self, state: BoostingState, moved: RowSet, rows: RowSet, sign: int
    ) -> BoostingState:
        """Return the state after rows came (1) or went (-1)."""
        if len(moved) == 0:
            return state
        if self.refits(len(moved), len(rows)):
            return self.fit(rows)
        check_rows(len(rows))
        common = self._draws.common
        counts = state.code_counts + sign * common.count(moved.codes)
        before = common.among(state.code_counts, len(state.digests))
        if not np.array_equal(common.among(counts, len(rows)), before):
            # With other cuts, all narrow codes are others.
            return dataclasses.replace(self.fit(rows), reads=len(rows))
        few = self._columns(state.cuts, moved)
        many = self._columns(state.cuts, rows)
        asked: set[int] = set()

        def all_rows(number: int) -> ClassRows:
            asked.add(number)
            return many.of_class(number)

        classes = [
            self._models[number].change(own, few.of_class(number), sign, partial(all_rows, number))
            for number, own in zip(self._models, state.classes, strict=True)
        ]
        # A class where something moves reads all rows, from the stage on where it does.
        others = -(-len(rows) * len(asked) // max(1, len(self._models)))
        reads = min(len(moved) + others, max(len(moved), len(rows)))
        return BoostingState(rows.digests, counts, state.cuts, classes, reads)

    def _decreases(self, state: BoostingState) -> Integers:
        """Return how much the splits by each feature decrease the loss, in units of 1 / UNIT."""
        found = np.zeros(self._shape.features, np.int64)
        layout = OF_NUMBERS if self._numbers else OF_CLASSES
        for own in state.classes:
            choices = own.structure.choices[..., None]
            after = np.take_along_axis(own.structure.gains, choices, axis=2)[..., 0]
            roots = purity(own.roots, self._options.smoothing, layout)
            first = np.repeat(roots, self._options.stage)[: self._options.trees, None]
            decreases = np.diff(after, axis=1, prepend=first)
            features = self._draws.candidates.chosen(own.structure.choices).features
            np.add.at(found, features, decreases)
        return found


def _tree_bytes(parts: Mapping[int, Mapping[str, Integers]], code_counts: Integers) -> bytes:
    """Return what a tree follows from and what it is, without the trees before it."""
    found = {
        f"{number:03d}/{name}": values
        for number, own in parts.items()
        for name, values in own.items()
    }
    return save_tensors({"code_counts": code_counts, **found})


def _class_file(number: int) -> str:
    return f"classes/{number:03d}.safetensors"


def _restored(model: ClassModel, found: dict[str, Tensor]) -> ClassState:
    """Return a state from a file whose arrays have the right shapes and no index out of bounds."""
    state = model.empty()
    structure = state.structure
    own = {
        "counts": state.counts,
        "choices": structure.choices,
        "left": structure.left,
        "roots": state.roots,
        "guide_sums": state.guide_sums,
        "leaf_sums": state.leaf_sums,
    }
    if any(found[name].shape != array.shape for name, array in own.items()):
        raise InputError("a file of an exact boosting model belongs to another model")
    for name, array in own.items():
        array[:] = found[name]
    if int(structure.choices.max()) >= structure.left.shape[2]:
        raise InputError("a file of an exact boosting model is damaged")
    return model.restore(state)
