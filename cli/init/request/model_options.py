"""Options of `unlearn init` about the model, and how it is trained."""

from typing import Annotated

import typer
from unlearn.cli import completion as completions
from unlearn.cli import panels
from unlearn.stages.config.params import MAX_SHARDS, MAX_SLICES

Shards = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_SHARDS,
        help="The number of shards. The default is one, if a training is so short that more "
        "shards save no time.",
        rich_help_panel=panels.MODEL,
    ),
]

Slices = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_SLICES,
        help="The number of slices in a shard. The default depends on the number of rows.",
        rich_help_panel=panels.MODEL,
    ),
]

ModelName = Annotated[
    str | None,
    typer.Option(
        help="The model of a table: exact_forest, exact_boosting, exact_linear, "
        "exact_naive_bayes, mlp, perturbed_logistic, resnet (pictures), a scikit-learn "
        "class such as sklearn.naive_bayes.GaussianNB, xgboost.XGBClassifier, "
        "lightgbm.LGBMClassifier, catboost.CatBoostClassifier, or a torch module or an "
        "estimator of your own, returned by path/to/model.py:build. The default is "
        "exact_forest, and mlp with --shards, --slices, --epochs or --template posthoc. "
        "The model of text: lora (the default) or causal_lm.",
        autocompletion=completions.families,
        rich_help_panel=panels.MODEL,
    ),
]

RawFlag = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Give an estimator of your own a pandas DataFrame of the features, in place of scaled "
        "numbers.",
        rich_help_panel=panels.MODEL,
    ),
]

TrustedTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-type",
        metavar="NAME",
        help="A type of another package than scikit-learn that model files of your own estimator "
        "may hold. Repeat the option for more types.",
        rich_help_panel=panels.MODEL,
    ),
]

Epochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="The number of training epochs. The default depends on the number of rows.",
        rich_help_panel=panels.MODEL,
    ),
]
