"""Settings of methods that go on training on the retain rows, by training's own optimizer.

Their rate starts from `rate_factor` times the rate of `train.optimizer`, and falls along half a
cosine. All defaults were measured: benchmarks/method_defaults.py.
"""

from typing import Annotated

from pydantic import Field
from unlearn.stages.config.section import Section

Epochs = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(gt=0, strict=False)]
OpenShare = Annotated[float, Field(gt=0, lt=1, strict=False)]


class ShrinkPerturbSettings(Section):
    """Ash and Adams, "On Warm-Starting Neural Network Training", NeurIPS 2020, section 4.

    `keep` is how much of each weight stays.
    """

    keep: OpenShare = 0.1
    """How much of each weight stays."""
    rate_factor: Factor = 8.0
    """What the rate of `train.optimizer` is multiplied by."""
    epochs: Epochs = 10
    """The most epochs that it may take."""


class MsgSettings(Section):
    """Cadet et al., "Deep Unlearn", EuroS&P 2025: masked small gradients.

    `share` is how many of the weights are drawn again.
    """

    share: OpenShare = 0.9
    """The share of the weights that are drawn again."""
    rate_factor: Factor = 8.0
    """What the rate of `train.optimizer` is multiplied by."""
    epochs: Epochs = 10
    """The most epochs that it may take."""


class L1SparseSettings(Section):
    """Jia et al., "Model Sparsity Can Simplify Machine Unlearning", NeurIPS 2023, section 4.

    `penalty` weighs the sum of absolute weights in the first epoch.
    """

    penalty: Annotated[float, Field(ge=0, strict=False)] = 5e-4
    """The weight of the sum of absolute weights in the first epoch."""
    rate_factor: Factor = 8.0
    """What the rate of `train.optimizer` is multiplied by."""
    epochs: Epochs = 10
    """The most epochs that it may take."""
