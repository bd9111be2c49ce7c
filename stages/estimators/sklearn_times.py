"""About how long scikit-learn's classifiers train, with their default options.

Measured on one core, on made-up rows of 20 features (docs/benchmarks.md). The figures are good for
an order of magnitude, which is what the number of shards of a new project takes.
"""

from dataclasses import dataclass

from unlearn.stages.estimators.spec import TrainingSize


@dataclass(frozen=True)
class _Pace:
    """How the time of a training grows.

    Parameters
    ----------
    value
        Nanoseconds for each value of the table: a row of an input.
    by_class
        Whether a model is fitted for each class, if there are more than two.
    pair
        Nanoseconds for each pair of rows and input, where rows are compared with each other.
    """

    value: float
    by_class: bool = False
    pair: float = 0.0


_PACES = {
    "AdaBoostClassifier": _Pace(6_000),
    "BaggingClassifier": _Pace(5_000),
    "BernoulliNB": _Pace(40),
    "CategoricalNB": _Pace(60),
    "ComplementNB": _Pace(40),
    "DecisionTreeClassifier": _Pace(800),
    "ExtraTreeClassifier": _Pace(50),
    "ExtraTreesClassifier": _Pace(4_500),
    "GaussianNB": _Pace(20),
    "GaussianProcessClassifier": _Pace(0, pair=1_000),
    "GradientBoostingClassifier": _Pace(21_000, by_class=True),
    "HistGradientBoostingClassifier": _Pace(1_000, by_class=True),
    "KNeighborsClassifier": _Pace(10),
    "LinearDiscriminantAnalysis": _Pace(50),
    "LinearSVC": _Pace(100, by_class=True),
    "LogisticRegression": _Pace(100, by_class=True),
    "LogisticRegressionCV": _Pace(1_500, by_class=True),
    "MLPClassifier": _Pace(21_000),
    "MultinomialNB": _Pace(40),
    "NearestCentroid": _Pace(30),
    "NuSVC": _Pace(0, pair=0.3),
    "PassiveAggressiveClassifier": _Pace(100, by_class=True),
    "Perceptron": _Pace(100, by_class=True),
    "QuadraticDiscriminantAnalysis": _Pace(50),
    "RandomForestClassifier": _Pace(11_500),
    "RidgeClassifier": _Pace(50),
    "RidgeClassifierCV": _Pace(50),
    "SGDClassifier": _Pace(300, by_class=True),
    "SVC": _Pace(0, pair=0.3),
}


def training_seconds(size: TrainingSize) -> float | None:
    """Return about how long a classifier trains; None for one that is not in the list.

    Examples
    --------
    >>> from unlearn.stages.estimators.spec import TrainingSize
    >>> forest = "sklearn.ensemble.RandomForestClassifier"
    >>> training_seconds(TrainingSize(forest, 10_000, 20, 2, epochs=1, batch=32))
    2.3
    """
    pace = _PACES.get(size.model.rpartition(".")[2])
    if pace is None:
        return None
    models = size.problems if pace.by_class else 1
    values = size.rows * size.inputs
    return (models * pace.value * values + pace.pair * values * size.rows) / 1e9
