"""About how long scikit-learn's classifiers and regressors train, with their default options.

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
    "AdaBoostRegressor": _Pace(5_500),
    "BaggingClassifier": _Pace(5_000),
    "BaggingRegressor": _Pace(4_500),
    "BayesianRidge": _Pace(35),
    "BernoulliNB": _Pace(40),
    "CategoricalNB": _Pace(60),
    "ComplementNB": _Pace(40),
    "DecisionTreeClassifier": _Pace(800),
    "DecisionTreeRegressor": _Pace(750),
    "ElasticNet": _Pace(20),
    "ExtraTreeClassifier": _Pace(50),
    "ExtraTreeRegressor": _Pace(180),
    "ExtraTreesClassifier": _Pace(4_500),
    "ExtraTreesRegressor": _Pace(17_000),
    "GaussianNB": _Pace(20),
    "GaussianProcessClassifier": _Pace(0, pair=1_000),
    "GradientBoostingClassifier": _Pace(21_000, by_class=True),
    "GradientBoostingRegressor": _Pace(21_000),
    "HistGradientBoostingClassifier": _Pace(1_000, by_class=True),
    "HistGradientBoostingRegressor": _Pace(2_000),
    "HuberRegressor": _Pace(60),
    "KNeighborsClassifier": _Pace(10),
    "KNeighborsRegressor": _Pace(10),
    "Lasso": _Pace(20),
    "LinearDiscriminantAnalysis": _Pace(50),
    "LinearRegression": _Pace(20),
    "LinearSVC": _Pace(100, by_class=True),
    "LinearSVR": _Pace(230),
    "LogisticRegression": _Pace(100, by_class=True),
    "LogisticRegressionCV": _Pace(1_500, by_class=True),
    "MLPClassifier": _Pace(21_000),
    "MLPRegressor": _Pace(17_000),
    "MultinomialNB": _Pace(40),
    "NearestCentroid": _Pace(30),
    "NuSVC": _Pace(0, pair=0.3),
    "NuSVR": _Pace(0, pair=0.8),
    "PassiveAggressiveClassifier": _Pace(100, by_class=True),
    "PassiveAggressiveRegressor": _Pace(20),
    "Perceptron": _Pace(100, by_class=True),
    "PLSRegression": _Pace(20),
    "QuadraticDiscriminantAnalysis": _Pace(50),
    "QuantileRegressor": _Pace(4_500),
    "RandomForestClassifier": _Pace(11_500),
    "RandomForestRegressor": _Pace(44_000),
    "Ridge": _Pace(20),
    "RidgeClassifier": _Pace(50),
    "RidgeClassifierCV": _Pace(50),
    "SGDClassifier": _Pace(300, by_class=True),
    "SGDRegressor": _Pace(50),
    "SVC": _Pace(0, pair=0.3),
    "SVR": _Pace(0, pair=1),
}


def training_seconds(size: TrainingSize) -> float | None:
    """Return about how long an estimator trains; None for one that is not in the list.

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
