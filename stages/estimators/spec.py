"""What a family of estimators declares, all of it in one place.

A family is a module that declares an `EstimatorSpec`, and one line in `registry.py`. Specs are read
by every command, so a module that declares one imports no numerical library at its top: the hooks
import what they need when they are called.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec as find_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa
from unlearn.stages.config.params import Params
from unlearn.stages.config.section import Modality, Section, Task
from unlearn.stages.config.train import PreprocessingParams, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.formats import WeightsFormat
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Dtype, Estimator
    from unlearn.stages.estimators.causal import CausalEstimator
    from unlearn.stages.estimators.packing import Packing
    from unlearn.stages.estimators.row_sets.base import RowSetEstimator, Shape
    from unlearn.stages.rows.tokens import Key

#: What has to be fitted on few rows to check options.
Trial = Literal["none", "fit", "two fits"]

#: Turns a weights file from elsewhere into one of the family's own, given the file's name (for
#: errors), its content, and the columns and classes that the model is for. Raises InputError.
Importer = Callable[[str, bytes, Layout], bytes]


class FeatureBuilder(Protocol):
    """Builds an estimator that reads rows of numbers."""

    def __call__(
        self, train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
    ) -> "Estimator":
        """Return the estimator.

        Parameters
        ----------
        train
            The settings.
        inputs
            Number of input columns.
        outputs
            What models are to answer with: probabilities of classes, or a number.
        sliced
            Whether it is to go on from slice to slice.
        code
            The user's own module file, where `train.model` names one.
        """


class NetworkBuilder(Protocol):
    """Builds the estimator of a network, which reads rows of numbers or of arrays."""

    def __call__(
        self,
        train: TrainParams,
        inputs: "int | Packing",
        outputs: Outputs,
        *,
        code: Path | None,
        root: Path | None,
    ) -> "Estimator":
        """Return the estimator.

        Parameters
        ----------
        train
            The settings.
        inputs
            Number of input columns; or the parts of a row where features are arrays.
        outputs
            What models are to answer with: probabilities of classes, or a number.
        code
            The user's own module file, where `train.model` names one.
        root
            The project's folder, where the other files are that training reads; None to predict
            alone.
        """


#: What model.json keeps of a `RowTransform`: name and facts of each feature.
StoredTransform = list[list[Any]]


class RowTransform(Protocol):
    """Turns the features of rows into what an estimator reads."""

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each feature, in order: its `kind`, and `categories` if it has any."""

    @property
    def width(self) -> int:
        """Number of columns that `transform` returns."""

    @property
    def categories(self) -> tuple[int, ...]:
        """How many categories the codes of each column are of; see `SliceData`."""

    def transform(self, rows: pa.Table, dtype: "Dtype") -> Any:
        """Return rows as the estimator reads them: numbers, shape (rows, width), or a DataFrame."""

    def as_json(self) -> StoredTransform:
        """Return the state as JSON values."""


def fit_numbers(rows: pa.Table, layout: Layout, train: TrainParams) -> RowTransform:
    """Return what turns features into numbers, by the settings of `train.preprocessing`."""
    from unlearn.stages.estimators.preprocessing import fit_preprocessor

    return fit_preprocessor(rows, layout, train.preprocessing)


def stored_numbers(value: StoredTransform, _train: TrainParams) -> RowTransform:
    """Return what `fit_numbers` returned, by what it keeps."""
    from unlearn.stages.estimators.preprocessing import Preprocessor

    return Preprocessor.from_json(value)


@dataclass(frozen=True)
class FeatureTraining:
    """Training on rows of features, slice by slice.

    Parameters
    ----------
    build
        Builds the estimator.
    preprocessor
        Returns what turns features into what the estimator reads, given the rows of the first slice
        that has rows, the columns, and the settings.
    stored
        Returns the same, given what it keeps in model.json, and the settings.
    needs_two_classes
        Whether rows of a single class cannot be fitted: the model of such a shard is `constant`.
        It says nothing about regressions.
    counts_epochs
        Whether training reads each row `train.epochs` times; solvers read as often as they need.
    network
        Builds the estimator in place of `build`, for families of networks: these read arrays too,
        and have the settings of `NetworkParams`.
    """

    build: FeatureBuilder
    preprocessor: Callable[[pa.Table, Layout, TrainParams], RowTransform] = fit_numbers
    stored: Callable[[StoredTransform, TrainParams], RowTransform] = stored_numbers
    needs_two_classes: bool = False
    counts_epochs: bool = True
    network: NetworkBuilder | None = None


@dataclass(frozen=True)
class RowSetTraining:
    """Training whose result is a function of the key and the set of rows of features.

    Parameters
    ----------
    build
        Returns the estimator, given the settings, the key of everything that it draws, and what its
        rows look like.
    references
        Reference models that membership attacks get where params.yaml asks for none: more than 0
        only where a model is fitted by one pass over the rows.
    reruns
        What `init` writes as `verify.rerun`: shards to retrain as a check, or trees to fit again.
    """

    build: "Callable[[TrainParams, Key, Shape], RowSetEstimator[Any]]"
    references: int = 0
    reruns: int = 1


@dataclass(frozen=True)
class TextTraining:
    """Training on rows of text, slice by slice.

    Parameters
    ----------
    build
        Returns the estimator, given the settings, the columns of the rows, and the project's
        folder. Raises InputError if the base is not as params.yaml pins it.
    combines
        Whether the models of several shards can answer together.
    """

    build: "Callable[[TrainParams, Layout, Path], CausalEstimator]"
    combines: bool = True


@dataclass(frozen=True)
class TrainingSize:
    """What one training is about.

    Parameters
    ----------
    model, options
        Values of `train.model` and `train.options`.
    rows, inputs, classes
        Rows, input columns and classes; 0 classes for a regression.
    epochs, batch
        How often each row is read, and rows a step, where training counts them.
    """

    model: str
    rows: int
    inputs: int
    classes: int
    epochs: int
    batch: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> int:
        """How many models a family fits that has one for each class against the rest."""
        return 1 if self.classes <= 2 else self.classes  # noqa: PLR2004 - one tells two classes apart


def _classifies(_model: str) -> tuple[Task, ...]:
    return ("classification",)


def both_tasks(_model: str) -> tuple[Task, ...]:
    """Return both tasks: of a family whose models predict classes and numbers alike."""
    return ("classification", "regression")


def _no_quantile(_train: TrainParams) -> float | None:
    return None


def _unknown(_size: TrainingSize) -> float | None:
    return None


def _no_model(_model: str) -> bool:
    return False


def _every_model(_model: str) -> bool:
    return True


def _yes(_train: TrainParams) -> bool:
    return True


def _no_facts(_train: TrainParams) -> dict[str, str]:
    return {}


def _accept(_params: Params) -> None:
    return None


@dataclass(frozen=True)
class Extra:
    """A library that is installed only where a model needs it.

    Parameters
    ----------
    name
        The extra of this package that installs it, and the name of its module.
    distributions
        Distributions that have the module; the first is the one that the extra installs.
    """

    name: str
    distributions: tuple[str, ...]

    @property
    def version(self) -> str | None:
        """Version, with the distribution where it is another than the extra's; None if missing."""
        for distribution in self.distributions:
            try:
                found = version(distribution)
            except PackageNotFoundError:
                continue
            is_first = distribution == self.distributions[0]
            return found if is_first else f"{found} ({distribution})"
        return None

    def check(self) -> None:
        """Raise InputError, with how to install it, if the library is missing."""
        if find_module(self.name) is None:
            raise InputError(
                f"{self.name} is not installed", f"pip install 'dvc-unlearn[{self.name}]'"
            )


@dataclass(frozen=True)
class EstimatorSpec:
    """A family of estimators.

    Parameters
    ----------
    name
        The family's name. It is what errors call the models that `train.model` may name.
    kind
        What model.json calls its models.
    training
        How it is trained, which says what rows it needs.
    format
        The file format of its models and states.
    file_name
        Name of a model's weights file.
    models
        The values of `train.model` that the family answers to.
    answers_to
        Tells for other values whether the family answers to them.
    options
        Model of `train.options`; None where the estimator checks them when it is built.
    tasks
        Returns for a value of `train.model` what its models can be asked to predict. A family that
        needs to import a library to know it returns both: building the estimator then raises
        InputError for the wrong one.
    quantile
        Returns the quantile of the target that a regressor with these settings predicts; None where
        it predicts the mean, or another centre. Its quality is the pinball loss then.
    can_slice
        Tells for a value of `train.model` whether its training can go on from a state.
    trial
        What is needed to find out whether options are right: no fit, because `options` says it all;
        a fit on few rows; or two fits, because its models may differ from fit to fit.
    set_by_training
        Last parts of names of options that have no effect.
    takes_weights
        Whether rows may have weights; whether a model takes them is known when it is fitted.
    takes_raw
        Whether it takes `train.raw` and `train.trusted_types`.
    has_probabilities
        Whether answers of a model with these settings are more than votes, as predicted numbers
        are.
    seconds
        About how long a training takes on one core of a usual machine; None where nobody knows. A
        new project has shards by it, so it depends on nothing but the size.
    most_shards
        Shards that a new project has at most.
    preprocessing
        Value of `train.preprocessing` in a new project.
    native
        Whether its models read each feature as one column, with categories and missing values as
        they are: `impute: none`.
    check
        Raises InputError where the rest of params.yaml does not suit the family. It is called
        after `options` were accepted.
    libraries
        Distributions whose versions decide the bytes of a model.
    extra
        A library that does so and that may be missing.
    facts
        What else of this machine decides them, by topic.
    preload
        Modules that a worker process imports before its first training.
    importers
        By suffix of a weights file from elsewhere; see `Importer`.
    """

    name: str
    kind: str
    training: FeatureTraining | RowSetTraining | TextTraining
    format: WeightsFormat
    file_name: str
    models: tuple[str, ...] = ()
    answers_to: Callable[[str], bool] = _no_model
    options: type[Section] | None = None
    tasks: Callable[[str], tuple[Task, ...]] = _classifies
    quantile: Callable[[TrainParams], float | None] = _no_quantile
    can_slice: Callable[[str], bool] = _every_model
    trial: Trial = "none"
    set_by_training: tuple[str, ...] = ()
    takes_weights: bool = False
    takes_raw: bool = False
    has_probabilities: Callable[[TrainParams], bool] = _yes
    seconds: Callable[[TrainingSize], float | None] = _unknown
    most_shards: int = 20
    preprocessing: PreprocessingParams = field(default_factory=PreprocessingParams)
    native: bool = False
    check: Callable[[Params], None] = _accept
    libraries: tuple[str, ...] = ()
    extra: Extra | None = None
    facts: Callable[[TrainParams], dict[str, str]] = _no_facts
    preload: tuple[str, ...] = ()
    importers: Mapping[str, Importer] = field(default_factory=dict)

    @property
    def modality(self) -> Modality:
        """What rows it is trained on."""
        return "text" if isinstance(self.training, TextTraining) else "tabular"

    def load(self) -> None:
        """Import what a training needs; it takes seconds, once in each process.

        Raises
        ------
        InputError
            If its library is not installed.
        """
        self.check_installed()
        for name in self.preload:
            import_module(name)

    def check_installed(self) -> None:
        """Raise InputError if its library is not installed."""
        if self.extra is not None:
            self.extra.check()

    def accepts(self, model: str) -> bool:
        """Tell whether a value of `train.model` names one of its models."""
        return model in self.models or self.answers_to(model)

    def checkpoint_name(self, slice_number: int) -> str:
        """Return the path of a slice's checkpoint, relative to the shard model's folder."""
        return f"checkpoints/slice-{slice_number:03d}{self.format.suffix}"
