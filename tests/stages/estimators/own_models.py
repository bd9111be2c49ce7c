"""Files of users' own that build estimators with scikit-learn's interface."""

#: A pipeline with a class and a function of the file: everything in it is fitted on the rows.
PIPELINE = '''
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler


class Clip(TransformerMixin, BaseEstimator):
    """Takes numbers to the ends of the range that most rows have."""

    def __init__(self, share=0.01):
        self.share = share

    def fit(self, rows, targets=None):
        ends = [self.share, 1 - self.share]
        self.low_, self.high_ = np.nanquantile(np.asarray(rows, float), ends, axis=0)
        return self

    def transform(self, rows):
        return np.clip(np.asarray(rows, float), self.low_, self.high_)


def squeezed(numbers):
    return np.sign(numbers) * np.log1p(np.abs(numbers))


def build(C=1.0, features=3):
    numbers = make_pipeline(
        SimpleImputer(), Clip(), FunctionTransformer(squeezed), StandardScaler()
    )
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    folds = StratifiedKFold(3, shuffle=True)
    calibrated = CalibratedClassifierCV(LogisticRegression(C=C), cv=folds)
    return make_pipeline(columns, SelectKBest(k=features), calibrated)
'''

#: A pipeline that reads numbers.
NUMBERS = """
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer


def build(trees=10):
    chosen = SelectFromModel(RandomForestClassifier(5))
    return make_pipeline(PowerTransformer(), chosen, RandomForestClassifier(trees, n_jobs=2))
"""

#: Estimators of three packages of others, with what their files hold.
THIRD_PARTY: dict[str, tuple[str, bool, list[str]]] = {
    "imblearn": (
        """
from imblearn.ensemble import BalancedRandomForestClassifier


def build(trees=10):
    return BalancedRandomForestClassifier(trees)
""",
        False,
        [
            "imblearn.ensemble._forest.BalancedRandomForestClassifier",
            "imblearn.pipeline.Pipeline",
            "imblearn.under_sampling._prototype_selection._random_under_sampler.RandomUnderSampler",
        ],
    ),
    "feature_engine": (
        """
from feature_engine.encoding import OneHotEncoder
from feature_engine.imputation import MeanMedianImputer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline


def build(trees=10):
    return make_pipeline(MeanMedianImputer(), OneHotEncoder(), RandomForestClassifier(trees))
""",
        True,
        [
            "feature_engine.encoding.one_hot.OneHotEncoder",
            "feature_engine.imputation.mean_median.MeanMedianImputer",
        ],
    ),
    "sklego": (
        """
from sklego.mixture import GMMClassifier


def build(components=1):
    return GMMClassifier(n_components=components)
""",
        False,
        ["sklego.mixture.gmm_classifier.GMMClassifier"],
    ),
}

#: A pipeline that predicts numbers from a DataFrame, and searches its parameters.
REGRESSION = """
import numpy as np
from sklearn.compose import TransformedTargetRegressor, make_column_selector
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder


def squared_root(amounts):
    return np.sign(amounts) * np.sqrt(np.abs(amounts))


def squared(roots):
    return np.sign(roots) * np.square(roots)


def build(trees=5):
    columns = make_column_transformer(
        (TargetEncoder(cv=3), make_column_selector(dtype_include="category")),
        (StandardScaler(), make_column_selector(dtype_include="number")),
    )
    forest = GridSearchCV(RandomForestRegressor(trees, n_jobs=2), {"max_depth": [3, 5]}, cv=2)
    pipeline = make_pipeline(columns, SelectKBest(f_regression, k=3), forest)
    return TransformedTargetRegressor(pipeline, func=squared_root, inverse_func=squared)
"""
