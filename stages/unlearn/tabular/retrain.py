"""Training anew: what every other method is measured against."""

from typing import NoReturn

from torch import nn
from unlearn.stages.config.methods import RetrainSettings
from unlearn.stages.unlearn.tabular.problem import MustRetrainError, Run
from unlearn.stages.unlearn.tabular.rows import Rows


def retrain(
    model: nn.Module, forget: Rows, retain: Rows, settings: RetrainSettings, run: Run
) -> NoReturn:
    """Ask for training from nothing on the retain rows: by definition, exact.

    Not done here, on rows that are numbers already: what turns columns into numbers was fitted on
    the forget rows too, and is fitted anew.

    Costs one training on the retain rows.

    Raises
    ------
    MustRetrainError
        Always.
    """
    del model, forget, retain, settings, run
    raise MustRetrainError("that is what the method is", {})
