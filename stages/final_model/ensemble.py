"""The final model: shard models that answer as one."""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.config.section import Task
from unlearn.stages.context import load_params
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.category_key import find_category_key
from unlearn.stages.final_model.combination import Combination, Probabilities, RowAnswers
from unlearn.stages.final_model.description import CodeEntry, read_description
from unlearn.stages.final_model.files import checked_members
from unlearn.stages.final_model.members import Member, StoredMember
from unlearn.stages.final_model.new_rows import NewRows, as_table, with_csv
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import Project
from unlearn.stages.training.shard_model import ShardModel

if TYPE_CHECKING:
    import pandas as pd

#: What errors call rows that are in no file.
_INPUT = "the input"


@dataclass(frozen=True)
class Ensemble:
    """The final model, loaded and ready to answer.

    Parameters
    ----------
    dataset
        What of params.yaml's dataset section reading new rows takes.
    rule
        How answers are combined.
    members
        The shard models that have rows.
    has_probabilities
        False where answers are shares of votes.
    features
        The features in the order of schema.yaml, which the members keep.
    """

    dataset: DatasetParams
    rule: AggregationRule
    members: tuple[Member | StoredMember, ...]
    has_probabilities: bool
    features: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class labels, in the order of probability columns; none for a regression."""
        return tuple(self.dataset.classes)

    @property
    def task(self) -> Task:
        """Whether classes or numbers are predicted."""
        return self.dataset.task

    def probabilities(self, rows: pa.Table) -> Probabilities:
        """Return class probabilities for typed rows, shape (rows, classes).

        Raises
        ------
        InputError
            If no shard has a row left, so that there is no model; or if it predicts numbers.
        """
        if self.task == "regression":
            raise InputError("this final model predicts numbers, and gives no probabilities")
        return self.answers(rows)

    def answers(self, rows: pa.Table) -> RowAnswers:
        """Return the answers for typed rows; see `RowPredictor.answers` for their shape.

        Raises
        ------
        InputError
            If no shard has a row left, so that there is no model.
        """
        if not self.members:
            raise InputError("the final model has no members: every shard lost all its rows")
        together = Combination(self.rule)
        for member in self.members:
            together.add(member.predictor.answers(rows), member.rows)
        return together.result()

    def new_rows(
        self, *, as_written: bool = False, csv: Mapping[str, Any] | None = None
    ) -> NewRows:
        """Return what reads rows for this model.

        Parameters
        ----------
        as_written
            See `NewRows`.
        csv
            Fields of `CsvParams` in which the CSV files differ from those of the training.
        """
        return NewRows(with_csv(self.dataset, csv or {}), self.known_categories, as_written)

    @cached_property
    def known_categories(self) -> dict[str, frozenset[str]]:
        """The categories that any of the members knows, by feature."""
        known: dict[str, set[str]] = {}
        for member in self.members:
            preprocessor = member.predictor.preprocessor
            for name, column in (preprocessor.columns if preprocessor else {}).items():
                if self.dataset.features.get(name) == "categorical" and "categories" in column:
                    known.setdefault(name, set()).update(column["categories"])
        return {name: frozenset(categories) for name, categories in known.items()}

    def predict_proba(
        self, frame: "pd.DataFrame | pa.Table", *, as_written: bool = False
    ) -> Probabilities:
        """Return class probabilities for rows as a dataset holds them.

        Parameters
        ----------
        frame
            A table with at least the feature columns; others are ignored.
        as_written
            Whether a category that writes a known number in another way, such as 1003 for 01003,
            is one that the model does not know, in place of an error.

        Returns
        -------
        numpy.ndarray
            Shape (rows, classes), in the order of `classes`.

        Raises
        ------
        InputError
            If a feature column is missing, or a value is not of its kind.

        Warns
        -----
        UserWarning
            If rows have categories that the model does not know.
        """
        return self.probabilities(self._typed(frame, as_written=as_written))

    def _typed(self, frame: "pd.DataFrame | pa.Table", *, as_written: bool) -> pa.Table:
        """Return rows as the members read them, and warn of categories that none of them knows."""
        rows = self.new_rows(as_written=as_written)
        typed = rows.typed(as_table(frame, self.dataset.features, _INPUT), _INPUT, 1)
        for note in rows.notes_on_categories():
            warnings.warn(note, stacklevel=3)
        return typed

    def predict(
        self, frame: "pd.DataFrame | pa.Table", *, as_written: bool = False
    ) -> list[str] | RowAnswers:
        """Return the prediction for every row; see `predict_proba`.

        It is the most probable class; or for a regression a number, in an array of shape (rows,).
        """
        return self.predictions(self.answers(self._typed(frame, as_written=as_written)))

    def importances(self) -> npt.NDArray[np.float64] | None:
        """Return the importance of each of `features`, shape (features,), with the sum 1.

        It is the mean over the members that have trees. Members that answer the same to every row
        have none; if another member has none, there are none: None. They are combined as answers
        are where these are weighted by rows.
        """
        weights, found = [], []
        for member in self.members:
            predictor = member.predictor
            if predictor.model is None:
                continue
            own = predictor.importances()
            if own is None:
                return None
            found.append(own)
            weights.append(member.rows if self.rule == "size_weighted" else 1)
        if not found:
            return None
        mean: npt.NDArray[np.float64] = np.average(np.stack(found), axis=0, weights=weights)
        total = float(mean.sum())
        return mean / total if total > 0 else mean

    def predictions(self, answers: RowAnswers) -> list[str] | RowAnswers:
        """Return what answers say: class labels, or the numbers themselves."""
        return answers if self.task == "regression" else self.labels(answers)

    def labels(self, probabilities: Probabilities) -> list[str]:
        """Return the most probable class of every row; a tie goes to the one pinned first."""
        return [self.classes[index] for index in probabilities.argmax(axis=1)]


def load_ensemble(
    folder: str | Path,
    *,
    trust_code: bool = False,
    own_code: Path | None = None,
    own_types: Collection[str] = (),
    keep: bool = True,
    root: Path | None = None,
    base: Path | None = None,
    category_key: str | None = None,
) -> Ensemble:
    """Load a final model from its folder, which is all that it needs.

    Parameters
    ----------
    folder
        `models/final_model`, or a copy of it.
    trust_code
        A final model of a user's own module or estimator carries its source. Loading it runs the
        source, so it has to be allowed. Types of other packages that it says it needs are then
        loaded, too.
    own_code
        A module file that is trusted anyway: the same bytes in the folder need no permission.
    own_types
        Types that are trusted anyway: those of `train.trusted_types`.
    keep
        Whether the members are held in memory. Else each is opened whenever it is asked.
    root
        The folder that the path of a frozen backbone starts from: the project's. The default is
        the current folder. The final model does not hold the backbone.
    base
        The backbone's file, if it has moved since the training; it must be the pinned one.
    category_key
        What categories are keyed with, in hex, for a model of `dataset.category_texts: keyed`. The
        default is that of the environment variable UNLEARN_CATEGORY_KEY, or of the project key.

    Raises
    ------
    InputError
        If the folder is not a whole final model, was changed after it was made, carries code that
        was not allowed, or the key of its categories is not at hand.

    Examples
    --------
    >>> import pandas as pd
    >>> model = load_ensemble("models/final_model")
    >>> model.predict(pd.read_csv("new_rows.csv"))
    ['no', 'yes', 'yes']
    """
    folder = Path(folder)
    description = read_description(folder)
    if description.dataset.modality == "text":
        raise InputError("this final model reads text: `load_model` loads it")
    code = _trusted_code(folder, description.code, trust_code=trust_code, own_code=own_code)
    files = (code, root or Path(), base)
    members = []
    features = tuple(description.dataset.features)
    for entry, model in checked_members(folder, description):
        features = tuple(model.layout.features)
        types = model.trusted_types if trust_code else tuple(own_types)
        named = (entry.shard, entry.rows or 1, model)
        members.append(_member(folder, named, files, types, keep=keep))
    dataset = description.dataset
    if dataset.keys_categories:
        dataset = dataset.with_category_key(find_category_key(description, root, category_key))
    return Ensemble(
        dataset=dataset,
        rule=description.rule,
        members=tuple(members),
        has_probabilities=description.has_probabilities,
        features=features,
    )


def load_own_ensemble(
    project: Project, *, trust_code: bool = False, base: Path | None = None
) -> Ensemble:
    """Load a project's final model; the code that params.yaml names is trusted.

    Parameters
    ----------
    project
        The project.
    trust_code, base
        See `load_ensemble`.

    Raises
    ------
    InputError
        See `load_ensemble`.
    """
    train = load_params(project.params).train
    return load_ensemble(
        project.final_model,
        trust_code=trust_code,
        own_code=None if train.code_path is None else project.root / train.code_path,
        own_types=train.trusted_types,
        root=project.root,
        base=base,
    )


def _member(
    folder: Path,
    named: tuple[str, int, ShardModel],
    files: tuple[Path | None, Path, Path | None],
    trusted: tuple[str, ...],
    *,
    keep: bool,
) -> Member | StoredMember:
    (shard, rows, model), (code, root, base) = named, files
    if foreign := [name for name in model.trusted_types if name not in trusted]:
        raise InputError(
            f"this final model loads types of other packages, such as {foreign[0]}",
            "allow them with --trust-code (in Python trust_code=True), if you trust who made it",
        )
    probable = model.has_probabilities
    if keep:
        return Member(shard, rows, model.predictor(code, trusted, root, base), probable)
    stored = folder / "members" / shard
    return StoredMember(shard, rows, probable, stored, model.digest, code, trusted, root, base)


def _trusted_code(
    folder: Path, code: CodeEntry | None, *, trust_code: bool, own_code: Path | None
) -> Path | None:
    """Return the user's module in the folder, if there is one and it may be run."""
    if code is None:
        return None
    path = folder / code.name
    if not path.is_file() or digest_file(path) != code.sha256:
        raise InputError(f"the final model's {path.name} was changed after it was made")
    own = own_code is not None and own_code.is_file() and digest_file(own_code) == code.sha256
    if not (trust_code or own):
        raise InputError(
            "this final model contains Python code, which prediction would run",
            f"read {path.name} in its folder; then allow it with --trust-code "
            "(in Python trust_code=True)",
        )
    return path
