"""Options of the models of other libraries for boosted trees.

Names and defaults are those of the libraries' own classes for scikit-learn. What is not given is
the library's default. Options that the pipeline sets are refused with the reason.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from unlearn.stages.config.section import Section

Share = Annotated[float, Field(gt=0, le=1, strict=False)]
NotNegative = Annotated[float, Field(ge=0, strict=False)]
Positive = Annotated[float, Field(gt=0, strict=False)]
Count = Annotated[int, Field(ge=1)]
Quantile = Annotated[float, Field(gt=0, lt=1, strict=False)]
#: Of each feature, in their order in schema.yaml: 1 rises, -1 falls, 0 is free.
Monotone = list[Literal[-1, 0, 1]]

#: Losses of CatBoost whose models predict the target itself, and not a logarithm of it.
_LOSSES = (
    r"RMSE|MAE|MAPE|LogCosh|(Quantile|Expectile):alpha=0?\.\d{1,9}|Huber:delta=\d{1,9}(\.\d{1,9})?"
)

_KEYED = "it is derived from the project key"
_ONE_THREAD = "one thread is used, so that a training gives the same bytes everywhere"
_ON_CPU = "models are trained on the processor, so that a training gives the same bytes everywhere"
_NO_FUNCTION = "a function cannot be given in params.yaml"
_NOTHING_EVALUATED = "nothing is evaluated during training, so it would have no effect"
_NATIVE = "missing values and categories are passed to the library as schema.yaml has them"
_QUIET = "the library prints nothing"
_OF_CLASSES = "it follows from the classes in schema.yaml"
_NO_STOPPING = (
    "early stopping needs rows that no shard model is trained on, or a random part of the shard: "
    "set the number of trees, and a lower learning_rate for more of them"
)


class BoostedOptions(Section):
    """What the options of all of these libraries have.

    Attributes
    ----------
    refused
        Why an option cannot be given, by its name.
    called
        The name here of an option that the library knows by several names.
    """

    refused: ClassVar[Mapping[str, str]] = {}
    called: ClassVar[Mapping[str, str]] = {}

    monotone_constraints: Monotone | None = None

    @model_validator(mode="before")
    @classmethod
    def _explain(cls, value: Any) -> Any:
        for name in value if isinstance(value, dict) else ():
            if name in cls.refused:
                raise ValueError(f"{name} cannot be set: {cls.refused[name]}")
            if name in cls.called:
                raise ValueError(f"{name} is called {cls.called[name]} here")
        return value

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class _XGBoostTrees(BoostedOptions):
    """What the options of both classes of XGBoost have."""

    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("random_state", "seed", "seed_per_iteration"), _KEYED),
        **dict.fromkeys(("n_jobs", "nthread"), _ONE_THREAD),
        **dict.fromkeys(("device", "gpu_id", "predictor", "sampling_method"), _ON_CPU),
        **dict.fromkeys(("missing", "enable_categorical", "feature_types"), _NATIVE),
        **dict.fromkeys(("verbosity", "verbose"), _QUIET),
        "callbacks": _NO_FUNCTION,
        "eval_metric": _NOTHING_EVALUATED,
        "importance_type": "importances are not computed",
        "early_stopping_rounds": _NO_STOPPING,
        "booster": "models are of the kind gbtree",
        "multi_strategy": "each class has trees of its own",
    }
    called: ClassVar[Mapping[str, str]] = {
        "eta": "learning_rate",
        "lambda": "reg_lambda",
        "alpha": "reg_alpha",
        "min_split_loss": "gamma",
        "num_boost_round": "n_estimators",
        "num_round": "n_estimators",
    }

    n_estimators: Annotated[int, Field(ge=1, le=100_000)] = 100
    max_depth: Annotated[int, Field(ge=0, le=64)] = 6
    learning_rate: Positive = 0.3
    max_leaves: Annotated[int, Field(ge=0)] | None = None
    max_bin: Annotated[int, Field(ge=2, le=65_536)] | None = None
    grow_policy: Literal["depthwise", "lossguide"] | None = None
    tree_method: Literal["hist", "approx", "exact"] | None = None
    gamma: NotNegative | None = None
    min_child_weight: NotNegative | None = None
    max_delta_step: NotNegative | None = None
    subsample: Share | None = None
    colsample_bytree: Share | None = None
    colsample_bylevel: Share | None = None
    colsample_bynode: Share | None = None
    reg_alpha: NotNegative | None = None
    reg_lambda: NotNegative | None = None
    base_score: Annotated[float, Field(strict=False)] | None = None
    num_parallel_tree: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_cat_to_onehot: Count | None = None
    max_cat_threshold: Count | None = None


class XGBoostOptions(_XGBoostTrees):
    """Options of `xgboost.XGBClassifier`."""

    refused: ClassVar[Mapping[str, str]] = {
        **_XGBoostTrees.refused,
        **dict.fromkeys(("objective", "num_class"), _OF_CLASSES),
    }

    scale_pos_weight: Positive | None = None


class XGBoostRegressorOptions(_XGBoostTrees):
    """Options of `xgboost.XGBRegressor`."""

    objective: (
        Literal[
            "reg:squarederror",
            "reg:absoluteerror",
            "reg:pseudohubererror",
            "reg:quantileerror",
            "reg:gamma",
            "reg:tweedie",
            "count:poisson",
        ]
        | None
    ) = None
    quantile_alpha: Quantile | None = None
    huber_slope: Positive | None = None
    tweedie_variance_power: Annotated[float, Field(gt=1, lt=2, strict=False)] | None = None

    @model_validator(mode="after")
    def _one_quantile(self) -> Self:
        if (self.objective == "reg:quantileerror") != (self.quantile_alpha is not None):
            raise ValueError("objective reg:quantileerror and quantile_alpha belong together")
        return self


class _LightGBMTrees(BoostedOptions):
    """What the options of both classes of LightGBM have."""

    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            (
                "random_state",
                "seed",
                "bagging_seed",
                "feature_fraction_seed",
                "extra_seed",
                "drop_seed",
                "data_random_seed",
                "objective_seed",
            ),
            _KEYED,
        ),
        **dict.fromkeys(
            ("n_jobs", "num_threads", "nthread", "force_row_wise", "force_col_wise"), _ONE_THREAD
        ),
        **dict.fromkeys(("device", "device_type"), _ON_CPU),
        **dict.fromkeys(("verbosity", "verbose"), _QUIET),
        **dict.fromkeys(
            ("categorical_feature", "use_missing", "zero_as_missing", "max_bin_by_feature"), _NATIVE
        ),
        **dict.fromkeys(
            ("early_stopping_round", "early_stopping_rounds", "early_stopping_min_delta"),
            _NO_STOPPING,
        ),
        **dict.fromkeys(("metric", "eval_metric"), _NOTHING_EVALUATED),
        "deterministic": _ONE_THREAD,
        "callbacks": _NO_FUNCTION,
        "linear_tree": "leaves of trees are constant",
        "importance_type": "importances are not computed",
        "reg_sqrt": "take the square root in the dataset",
        "forcedsplits_filename": "splits are chosen by the rows of the shard",
        "forcedbins_filename": "bins are chosen by the rows of the shard",
    }
    called: ClassVar[Mapping[str, str]] = {
        "boosting": "boosting_type",
        "num_iterations": "n_estimators",
        "num_boost_round": "n_estimators",
        "eta": "learning_rate",
        "max_leaves": "num_leaves",
        "min_data_in_leaf": "min_child_samples",
        "min_sum_hessian_in_leaf": "min_child_weight",
        "min_gain_to_split": "min_split_gain",
        "bagging_fraction": "subsample",
        "bagging_freq": "subsample_freq",
        "bin_construct_sample_cnt": "subsample_for_bin",
        "feature_fraction": "colsample_bytree",
        "lambda_l1": "reg_alpha",
        "lambda_l2": "reg_lambda",
    }

    n_estimators: Annotated[int, Field(ge=1, le=100_000)] = 100
    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 31
    learning_rate: Positive = 0.1
    boosting_type: Literal["gbdt", "dart"] | None = None
    data_sample_strategy: Literal["bagging", "goss"] | None = None
    max_depth: Annotated[int, Field(ge=-1)] | None = None
    min_split_gain: NotNegative | None = None
    min_child_weight: NotNegative | None = None
    min_child_samples: Annotated[int, Field(ge=0)] | None = None
    subsample: Share | None = None
    subsample_freq: Annotated[int, Field(ge=0)] | None = None
    subsample_for_bin: Count | None = None
    colsample_bytree: Share | None = None
    feature_fraction_bynode: Share | None = None
    reg_alpha: NotNegative | None = None
    reg_lambda: NotNegative | None = None
    max_delta_step: NotNegative | None = None
    max_bin: Annotated[int, Field(ge=2, le=65_536)] | None = None
    min_data_in_bin: Count | None = None
    extra_trees: bool | None = None
    path_smooth: NotNegative | None = None
    boost_from_average: bool | None = None
    max_cat_to_onehot: Count | None = None
    max_cat_threshold: Count | None = None
    min_data_per_group: Count | None = None
    cat_l2: NotNegative | None = None
    cat_smooth: NotNegative | None = None
    drop_rate: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    max_drop: int | None = None
    skip_drop: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    uniform_drop: bool | None = None


class LightGBMOptions(_LightGBMTrees):
    """Options of `lightgbm.LGBMClassifier`."""

    refused: ClassVar[Mapping[str, str]] = {
        **_LightGBMTrees.refused,
        **dict.fromkeys(("objective", "num_class", "sigmoid"), _OF_CLASSES),
        "class_weight": "use scale_pos_weight or is_unbalance",
    }

    scale_pos_weight: Positive | None = None
    is_unbalance: bool | None = None


class LightGBMRegressorOptions(_LightGBMTrees):
    """Options of `lightgbm.LGBMRegressor`; `alpha` is the quantile, or of `huber` the limit."""

    objective: (
        Literal[
            "regression",
            "regression_l1",
            "huber",
            "fair",
            "poisson",
            "quantile",
            "mape",
            "gamma",
            "tweedie",
        ]
        | None
    ) = None
    alpha: Positive | None = None
    fair_c: Positive | None = None
    poisson_max_delta_step: Positive | None = None
    tweedie_variance_power: Annotated[float, Field(ge=1, lt=2, strict=False)] | None = None

    @model_validator(mode="after")
    def _one_quantile(self) -> Self:
        if self.objective == "quantile" and not 0 < (self.alpha or 0) < 1:
            raise ValueError("objective quantile needs alpha, the quantile, between 0 and 1")
        return self


class _CatBoostTrees(BoostedOptions):
    """What the options of both classes of CatBoost have.

    The library chooses a rate where none is given.
    """

    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("random_seed", "random_state"), _KEYED),
        **dict.fromkeys(("thread_count", "n_jobs"), _ONE_THREAD),
        **dict.fromkeys(("task_type", "devices", "gpu_ram_part"), _ON_CPU),
        **dict.fromkeys(("verbose", "silent", "logging_level", "metric_period"), _QUIET),
        **dict.fromkeys(("cat_features", "text_features", "embedding_features"), _NATIVE),
        **dict.fromkeys(
            ("early_stopping_rounds", "od_type", "od_wait", "od_pval", "use_best_model"),
            _NO_STOPPING,
        ),
        **dict.fromkeys(("eval_metric", "custom_metric"), _NOTHING_EVALUATED),
        **dict.fromkeys(
            ("allow_writing_files", "train_dir", "save_snapshot", "snapshot_file"),
            "the library writes no files",
        ),
        "callbacks": _NO_FUNCTION,
        "grow_policy": "trees are symmetric",
        "has_time": "the rows of a shard have no order in time",
    }
    called: ClassVar[Mapping[str, str]] = {
        "n_estimators": "iterations",
        "num_boost_round": "iterations",
        "num_trees": "iterations",
        "max_depth": "depth",
        "eta": "learning_rate",
        "reg_lambda": "l2_leaf_reg",
        "max_bin": "border_count",
        "colsample_bylevel": "rsm",
    }

    iterations: Annotated[int, Field(ge=1, le=100_000)] = 1000
    depth: Annotated[int, Field(ge=1, le=16)] = 6
    learning_rate: Share | None = None
    l2_leaf_reg: NotNegative | None = None
    border_count: Annotated[int, Field(ge=1, le=65_535)] | None = None
    random_strength: NotNegative | None = None
    rsm: Share | None = None
    boosting_type: Literal["Ordered", "Plain"] | None = None
    bootstrap_type: Literal["Bayesian", "Bernoulli", "MVS", "No"] | None = None
    subsample: Share | None = None
    bagging_temperature: NotNegative | None = None
    one_hot_max_size: Annotated[int, Field(ge=1, le=65_535)] | None = None
    max_ctr_complexity: Annotated[int, Field(ge=0, le=15)] | None = None
    leaf_estimation_method: Literal["Newton", "Gradient"] | None = None
    leaf_estimation_iterations: Count | None = None
    score_function: Literal["Cosine", "L2"] | None = None
    nan_mode: Literal["Min", "Max"] | None = None
    model_size_reg: NotNegative | None = None


class CatBoostOptions(_CatBoostTrees):
    """Options of `catboost.CatBoostClassifier`."""

    refused: ClassVar[Mapping[str, str]] = {
        **_CatBoostTrees.refused,
        **dict.fromkeys(
            ("loss_function", "objective", "classes_count", "class_names"), _OF_CLASSES
        ),
    }

    auto_class_weights: Literal["Balanced", "SqrtBalanced"] | None = None
    scale_pos_weight: Positive | None = None


class CatBoostRegressorOptions(_CatBoostTrees):
    """Options of `catboost.CatBoostRegressor`; a loss may end with a number: `Huber:delta=2`."""

    called: ClassVar[Mapping[str, str]] = {**_CatBoostTrees.called, "objective": "loss_function"}

    loss_function: str | None = None

    @field_validator("loss_function")
    @classmethod
    def _known_loss(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(_LOSSES, value) is None:
            raise ValueError(
                "must be RMSE, MAE, MAPE, LogCosh, Quantile:alpha=.., Expectile:alpha=.. or "
                "Huber:delta=.."
            )
        return value
